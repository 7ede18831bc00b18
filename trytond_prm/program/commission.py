# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.transaction import without_check_access


class ProgramTier(metaclass=PoolMeta):
    __name__ = 'prm.program.tier'

    commission_plan = fields.Many2One(
        'commission.plan', "Commission Plan", ondelete='RESTRICT',
        help="The partners of the tier earn by it when they are agents.")


class Agent(metaclass=PoolMeta):
    __name__ = 'commission.agent'

    tier_plan = fields.Function(fields.Many2One(
            'commission.plan', "Plan of Tier",
            help="The commission plan of the tier of the partner, used "
            "instead of the plan of the agent."),
        'get_tier_plan')

    @classmethod
    @without_check_access
    def get_tier_plan(cls, agents, name):
        pool = Pool()
        Partner = pool.get('prm.partner')
        partners = Partner.search([
                ('party', 'in', list({a.party.id for a in agents})),
                ('company', 'in', list({a.company.id for a in agents})),
                ('state', '!=', 'ended'),
                ])
        plans = {
            (p.company, p.party): p.tier.commission_plan
            for p in partners if p.tier}
        result = {}
        for agent in agents:
            plan = plans.get((agent.company, agent.party))
            result[agent.id] = (
                plan.id if plan and agent.type_ == 'agent' else None)
        return result


class InvoiceLine(metaclass=PoolMeta):
    __name__ = 'account.invoice.line'

    @property
    def agent_plans_used(self):
        return [
            (agent, agent.tier_plan or plan)
            for agent, plan in super().agent_plans_used]
