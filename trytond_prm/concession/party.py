# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.i18n import gettext
from trytond.modules.party.exceptions import EraseError
from trytond.pool import Pool, PoolMeta


class Replace(metaclass=PoolMeta):
    __name__ = 'party.replace'

    @classmethod
    def fields_to_replace(cls):
        return super().fields_to_replace() + [
            ('prm.concession', 'party'),
            ]

    def transition_replace(self):
        pool = Pool()
        Concession = pool.get('prm.concession')
        Partner = pool.get('prm.partner')
        result = super().transition_replace()
        Partner.take_in(self.ask.destination, Concession)
        return result


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def check_erase_company(self, party, company):
        pool = Pool()
        Concession = pool.get('prm.concession')
        super().check_erase_company(party, company)

        concessions = Concession.search([
                ('party', '=', party.id),
                ('company', '=', company.id),
                ('state', 'in', ['draft', 'submitted', 'approved']),
                ])
        if concessions:
            raise EraseError(gettext('prm.msg_concession_erase_party',
                    party=party.rec_name,
                    company=company.rec_name))

    def to_erase(self, party_id):
        pool = Pool()
        Concession = pool.get('prm.concession')
        Log = pool.get('prm.concession.log')
        return super().to_erase(party_id) + [
            (Concession, [('party', '=', party_id)], True,
                ['description', 'note'],
                [None, None]),
            (Log, [('concession.party', '=', party_id)], True,
                ['note'],
                [None]),
            ]
