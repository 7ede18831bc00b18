# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.pool import Pool, PoolMeta


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def to_erase(self, party_id):
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        return super().to_erase(party_id) + [
            (Decision, [('enrolment.partner.party', '=', party_id)], True,
                ['reason', 'explanation'],
                [None, None]),
            ]
