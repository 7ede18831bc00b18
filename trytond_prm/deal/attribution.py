# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql.aggregate import Sum

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, Workflow, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

from ..tools import sql_exact
from .exceptions import AttributionError

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


class Attribution(ModelSQL, ModelView):
    __name__ = 'prm.attribution'
    __string__ = "Attribution"

    opportunity = fields.Many2One(
        'sale.opportunity', "Opportunity", required=True, ondelete='CASCADE')
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ])
    kind = fields.Selection([
            ('sourced', "Sourced"),
            ('influenced', "Influenced"),
            ], "Kind", required=True, sort=False,
        help="Whether the partner brought the opportunity or helped with it.")
    share = fields.Numeric(
        "Share", digits=(1, 4), required=True,
        domain=[
            ('share', '>', 0),
            ('share', '<=', 1),
            ],
        help="The part of the opportunity that is due to the partner.\n"
        "All that is sourced is at most 100%.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')
    amount = fields.Function(Monetary(
            "Amount", currency='currency', digits='currency',
            help="The amount of the opportunity multiplied by the share."),
        'on_change_with_amount')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('opportunity')
        t = cls.__table__()
        cls._sql_constraints += [
            ('partner_unique', Unique(t, t.opportunity, t.partner, t.kind),
                'prm.msg_attribution_unique'),
            ]
        cls._sql_indexes.add(Index(t, (t.partner, Index.Equality())))

    @classmethod
    def default_kind(cls):
        return 'sourced'

    @classmethod
    def default_share(cls):
        return 1

    @fields.depends('opportunity', '_parent_opportunity.company')
    def on_change_with_company(self, name=None):
        return self.opportunity.company if self.opportunity else None

    @classmethod
    def search_company(cls, name, clause):
        return [('opportunity.' + clause[0], *clause[1:])]

    @fields.depends('opportunity', '_parent_opportunity.currency')
    def on_change_with_currency(self, name=None):
        return self.opportunity.currency if self.opportunity else None

    @fields.depends(
        'opportunity', 'share', '_parent_opportunity.amount',
        '_parent_opportunity.currency')
    def on_change_with_amount(self, name=None):
        if (self.opportunity and self.opportunity.currency
                and self.opportunity.amount is not None
                and self.share is not None):
            return self.opportunity.currency.round(
                self.opportunity.amount * self.share)

    def get_rec_name(self, name):
        return f'{self.partner.rec_name} @ {self.opportunity.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, *_ = clause
        bool_op = ('AND'
            if operator.startswith('!') or operator.startswith('not ')
            else 'OR')
        return [bool_op,
            ('partner.rec_name', *clause[1:]),
            ('opportunity.rec_name', *clause[1:]),
            ]

    @classmethod
    def validate_fields(cls, attributions, field_names):
        super().validate_fields(attributions, field_names)
        if {'opportunity', 'kind', 'share'} & field_names:
            cls.check_sourced({
                    a.opportunity.id for a in attributions
                    if a.kind == 'sourced'})

    @classmethod
    def check_sourced(cls, opportunities):
        """Check that the sourced shares of the opportunities are not above 1

        The update makes a concurrent transaction, which can not see the
        shares of this one, fail and be retried by the server.
        """
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        cursor = Transaction().connection.cursor()
        for sub_ids in grouped_slice(sorted(opportunities), _SIZE):
            sub_ids = list(sub_ids)
            opportunity = Opportunity.__table__()
            table = cls.__table__()
            cursor.execute(*opportunity.update(
                    [opportunity.company], [opportunity.company],
                    where=_in(opportunity.id, sub_ids)))
            cursor.execute(*table.select(
                    table.opportunity,
                    where=_in(table.opportunity, sub_ids)
                    & (table.kind == 'sourced'),
                    group_by=table.opportunity,
                    having=Sum(sql_exact(table.share)) > sql_exact(1),
                    limit=1))
            if row := cursor.fetchone():
                raise AttributionError(gettext(
                        'prm.msg_attribution_sourced',
                        opportunity=Opportunity(row[0]).rec_name))


class Opportunity(metaclass=PoolMeta):
    __name__ = 'sale.opportunity'

    attributions = fields.One2Many(
        'prm.attribution', 'opportunity', "Attributions",
        help="The partners to whom the opportunity is due.")

    @classmethod
    def copy(cls, opportunities, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('attributions', None)
        return super().copy(opportunities, default=default)


class Registration(metaclass=PoolMeta):
    __name__ = 'prm.registration'

    opportunity = fields.Many2One(
        'sale.opportunity', "Opportunity", ondelete='RESTRICT',
        readonly=True,
        states={
            'invisible': ~Eval('opportunity'),
            },
        help="What became of the registration.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'convert': {
                    'invisible': Eval('state') != 'approved',
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def copy(cls, registrations, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('opportunity', None)
        return super().copy(registrations, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('converted')
    def convert(cls, registrations):
        "Create the opportunities that the partners have sourced"
        pool = Pool()
        Attribution = pool.get('prm.attribution')
        Opportunity = pool.get('sale.opportunity')
        opportunities = Opportunity.create([
                r._opportunity_values() for r in registrations])
        for registration, opportunity in zip(registrations, opportunities):
            registration.opportunity = opportunity
        cls.save(registrations)
        Attribution.create([{
                    'opportunity': r.opportunity.id,
                    'partner': r.partner.id,
                    'kind': 'sourced',
                    'share': 1,
                    } for r in registrations])

    def _opportunity_values(self):
        manager = self.partner.manager
        return {
            'company': self.company.id,
            'party': self.party.id,
            'currency': self.currency.id,
            'amount': self.amount,
            'description': self.description,
            'employee': manager.id if manager else None,
            'expected_close_date': self.expected_close_date,
            }
