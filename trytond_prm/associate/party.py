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
            ('prm.share.transaction', 'party_from'),
            ('prm.share.transaction', 'party_to'),
            ('prm.buyback', 'party'),
            ('prm.buyback', 'buyer'),
            ('prm.separation', 'party'),
            ('prm.separation.exposure', 'party'),
            ]


class Erase(metaclass=PoolMeta):
    __name__ = 'party.erase'

    def check_erase_company(self, party, company):
        pool = Pool()
        Holding = pool.get('prm.share.holding')
        Separation = pool.get('prm.separation')
        super().check_erase_company(party, company)

        if Holding.search([
                    ('party', '=', party.id),
                    ('company', '=', company.id),
                    ], limit=1):
            raise EraseError(
                gettext('prm.msg_erase_party_share_holding',
                    party=party.rec_name,
                    company=company.rec_name))
        if Separation.search([
                    ('party', '=', party.id),
                    ('company', '=', company.id),
                    ('end_date', '=', None),
                    ], limit=1):
            raise EraseError(
                gettext('prm.msg_erase_party_separation',
                    party=party.rec_name,
                    company=company.rec_name))
