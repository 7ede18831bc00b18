# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.transaction import Transaction, without_check_access


class ProgramTier(metaclass=PoolMeta):
    __name__ = 'prm.program.tier'

    price_list = fields.Many2One(
        'product.price_list', "Price List", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The partners of the tier buy by it unless their party has its "
        "own price list.")


class Party(metaclass=PoolMeta):
    __name__ = 'party.party'

    def get_multivalue(self, name, **pattern):
        value = super().get_multivalue(name, **pattern)
        if name == 'sale_price_list' and self.id is not None and self.id >= 0:
            default = self.default_sale_price_list(**pattern)
            if (value.id if value else None) == default:
                value = self._get_tier_price_list(**pattern) or value
        return value

    @without_check_access
    def _get_tier_price_list(self, **pattern):
        "Return the price list of the tier of the partner"
        pool = Pool()
        Partner = pool.get('prm.partner')
        company = pattern.get(
            'company', Transaction().context.get('company'))
        partners = Partner.search([
                ('company', '=', company),
                ('party', '=', self.id),
                ('state', '!=', 'ended'),
                ], limit=1)
        for partner in partners:
            if partner.tier:
                return partner.tier.price_list
