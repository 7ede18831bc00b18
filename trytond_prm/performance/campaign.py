# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql import Null

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, Unique, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval

from ..model import get_parents
from .exceptions import ActionCampaignError, PlanAccessError

_in = fields.SQL_OPERATORS['in']


class PlanAction(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    campaigns = fields.Many2Many(
        'prm.plan.action-marketing.campaign', 'action', 'campaign',
        "Campaigns",
        states={
            'readonly': Eval('plan_closed', False),
            },
        help="The marketing campaigns of the action.\n"
        "The invoices of the sales that come from them count for the action, "
        "unless they or the opportunities of the sales have one themselves.")

    @classmethod
    def on_modification(cls, mode, actions, field_names=None):
        pool = Pool()
        ActionCampaign = pool.get('prm.plan.action-marketing.campaign')
        super().on_modification(mode, actions, field_names=field_names)
        if mode == 'write' and 'plan' in field_names:
            rows = ActionCampaign.search([
                    ('action', 'in', [a.id for a in actions]),
                    ])
            moved = [r for r in rows if r.company != r.action.company]
            for row in moved:
                row.company = row.action.company
            ActionCampaign.save(moved)

    @classmethod
    def campaign_query(cls, actions):
        """Return the SQL query of the campaigns of the actions

        The columns are action, campaign and company."""
        pool = Pool()
        ActionCampaign = pool.get('prm.plan.action-marketing.campaign')
        table = ActionCampaign.__table__()
        return table.select(
            table.action.as_('action'),
            table.campaign.as_('campaign'),
            table.company.as_('company'),
            where=_in(table.action, [a.id for a in actions]))

    @classmethod
    def copy(cls, actions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('campaigns', None)
        return super().copy(actions, default=default)


class Campaign(metaclass=PoolMeta):
    __name__ = 'marketing.campaign'

    plan_actions = fields.Many2Many(
        'prm.plan.action-marketing.campaign', 'campaign', 'action',
        "Sales Actions", readonly=True,
        help="The actions of the plans that the campaign belongs to, one in "
        "each company.")

    @classmethod
    def copy(cls, campaigns, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('plan_actions', None)
        return super().copy(campaigns, default=default)


class ActionCampaign(ModelSQL):
    __name__ = 'prm.plan.action-marketing.campaign'
    __string__ = "Campaign of Sales Action"

    action = fields.Many2One(
        'prm.plan.action', "Action", required=True, ondelete='CASCADE')
    campaign = fields.Many2One(
        'marketing.campaign', "Campaign", required=True, ondelete='RESTRICT')
    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='CASCADE',
        help="The company of the plan of the action: in each company a "
        "campaign belongs to one action at most.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        table = cls.__table__()
        cls.__access__.add('action')
        cls._sql_constraints += [
            ('campaign_company_unique',
                Unique(table, table.campaign, table.company),
                'prm.msg_plan_action_campaign_unique'),
            ]

    @classmethod
    def check_modification(cls, mode, rows, values=None, external=False):
        super().check_modification(
            mode, rows, values=values, external=external)
        for action in get_parents('action', rows, values):
            if action.plan.state == 'closed':
                raise PlanAccessError(gettext(
                        'prm.msg_plan_write_closed',
                        plan=action.plan.rec_name))

    @classmethod
    def preprocess_values(cls, mode, values):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        values = super().preprocess_values(mode, values)
        if mode == 'write' and values.get('action'):
            values['company'] = Action(values['action']).company.id
        return values

    @classmethod
    def create(cls, vlist):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        actions = Action.browse([v['action'] for v in vlist])
        # The constraint would not name the action that has the campaign
        others = {
            (r.campaign.id, r.company): r
            for r in cls.search([
                    ('campaign', 'in', [v['campaign'] for v in vlist]),
                    ])}
        for action, values in zip(actions, vlist):
            if other := others.get((values['campaign'], action.company)):
                raise ActionCampaignError(gettext(
                        'prm.msg_plan_action_campaign',
                        campaign=other.campaign.rec_name,
                        action=action.rec_name,
                        other=other.action.rec_name))
        return super().create([
                {**values, 'company': action.company.id}
                for action, values in zip(actions, vlist)])


class PlanActionSale(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    @classmethod
    def sale_queries(cls, actions):
        return [*super().sale_queries(actions), cls._campaign_sales(actions)]

    @classmethod
    def _campaign_sales(cls, actions):
        pool = Pool()
        Sale = pool.get('sale.sale')
        sale = Sale.__table__()
        campaign = cls.campaign_query(actions)
        return (campaign
            .join(sale,
                condition=(sale.marketing_campaign == campaign.campaign)
                & (sale.company == campaign.company))
            .select(campaign.action.as_('action'), sale.id.as_('sale')))


class CampaignMixin:
    __slots__ = ()

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.add(
            Index(
                t, (t.marketing_campaign, Index.Equality()),
                where=t.marketing_campaign != Null))


class Sale(CampaignMixin, metaclass=PoolMeta):
    __name__ = 'sale.sale'


class PlanActionOpportunity(metaclass=PoolMeta):
    __name__ = 'prm.plan.action'

    @classmethod
    def opportunity_queries(cls, actions):
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        opportunity = Opportunity.__table__()
        campaign = cls.campaign_query(actions)
        return [
            *super().opportunity_queries(actions),
            campaign
            .join(opportunity,
                condition=(
                    opportunity.marketing_campaign == campaign.campaign)
                & (opportunity.company == campaign.company))
            .select(
                campaign.action.as_('action'),
                opportunity.id.as_('opportunity'),
                where=opportunity.plan_action == Null),
            ]

    @classmethod
    def _campaign_sales(cls, actions):
        pool = Pool()
        Opportunity = pool.get('sale.opportunity')
        Sale = pool.get('sale.sale')
        opportunity = Opportunity.__table__()
        sale = Sale.__table__()
        sales = super()._campaign_sales(actions)
        return (sales
            .join(sale, condition=sales.sale == sale.id)
            .join(opportunity, 'LEFT',
                condition=sale.origin.like('sale.opportunity,%')
                & (Sale.origin.sql_id(sale.origin, Sale) == opportunity.id))
            .select(
                sales.action.as_('action'),
                sales.sale.as_('sale'),
                where=opportunity.plan_action == Null))


class Opportunity(CampaignMixin, metaclass=PoolMeta):
    __name__ = 'sale.opportunity'
