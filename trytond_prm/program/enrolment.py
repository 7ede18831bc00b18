# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict

from dateutil.relativedelta import relativedelta
from sql.operators import Equal

from trytond.i18n import gettext
from trytond.model import Exclude, Index, ModelSQL, ModelView, Workflow, fields
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.transaction import Transaction

from ..tools import Inline
from .exceptions import (
    DecisionAccessError, DecisionError, EnrolmentAccessError, EnrolmentError)

_OPEN = ['draft', 'pending', 'approved']


def _is_open(table):
    return ((table.state != Inline('rejected'))
        & (table.state != Inline('expired'))
        & (table.state != Inline('terminated')))


class Enrolment(Workflow, ModelSQL, ModelView):
    __name__ = 'prm.enrolment'
    __string__ = "Enrolment"

    _states = {
        'readonly': Eval('state') != 'draft',
        }

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE',
        states=_states)
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    program = fields.Many2One(
        'prm.program', "Program", required=True, ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        states=_states)
    tier = fields.Many2One(
        'prm.program.tier', "Tier", ondelete='RESTRICT',
        domain=[
            ('program', '=', Eval('program', -1)),
            ],
        states={
            'readonly': _states['readonly'],
            'required': Eval('state') == 'approved',
            },
        help="What the partner has in the program.\n"
        "After the approval it only changes by a decision.")
    eligible_tier = fields.Function(fields.Many2One(
            'prm.program.tier', "Eligible Tier",
            help="The highest tier of which the partner fulfils all the "
            "criteria today."),
        'get_evaluation')
    progress = fields.Function(fields.Text(
            "Progress",
            help="What the partner reaches today of the criteria of each "
            "tier."),
        'get_evaluation')
    start_date = fields.Date(
        "Start Date",
        states={
            'readonly': _states['readonly'],
            'required': Eval('state') == 'approved',
            },
        help="The first day of the enrolment.\n"
        "Leave empty to start on the day of the approval.")
    end_date = fields.Date(
        "End Date",
        domain=[
            If(Bool(Eval('end_date')) & Bool(Eval('start_date')),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ],
        states=_states,
        help="The last day of the enrolment.")
    review_date = fields.Date(
        "Review Date", readonly=True,
        help="When the tier is reviewed the next time.")
    decisions = fields.One2Many(
        'prm.enrolment.decision', 'enrolment', "Decisions",
        states={
            'readonly': Eval('state') != 'approved',
            },
        help="How the tier changed.")
    state = fields.Selection([
            ('draft', "Draft"),
            ('pending', "Pending"),
            ('approved', "Approved"),
            ('rejected', "Rejected"),
            ('expired', "Expired"),
            ('terminated', "Terminated"),
            ], "State", readonly=True, required=True, sort=False)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
        t = cls.__table__()
        cls._order = [
            ('partner', 'ASC'),
            ('start_date', 'DESC NULLS FIRST'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('open_exclude',
                Exclude(t, (t.partner, Equal), (t.program, Equal),
                    where=_is_open(t)),
                'prm.msg_enrolment_open_unique'),
            ]
        cls._sql_indexes.update({
                Index(t,
                    (t.partner, Index.Range()),
                    (t.start_date, Index.Range(order='DESC NULLS FIRST'))),
                Index(t,
                    (t.state, Index.Equality(cardinality='low')),
                    where=_is_open(t)),
                })
        cls._transitions |= {
            ('draft', 'pending'),
            ('pending', 'draft'),
            ('pending', 'approved'),
            ('pending', 'rejected'),
            ('approved', 'expired'),
            ('approved', 'terminated'),
            }
        cls._buttons.update({
                'draft': {
                    'invisible': Eval('state') != 'pending',
                    'icon': 'tryton-back',
                    'depends': ['state'],
                    },
                'submit': {
                    'invisible': Eval('state') != 'draft',
                    'icon': 'tryton-forward',
                    'depends': ['state'],
                    },
                'approve': {
                    'invisible': Eval('state') != 'pending',
                    'icon': 'tryton-ok',
                    'depends': ['state'],
                    },
                'reject': {
                    'invisible': Eval('state') != 'pending',
                    'icon': 'tryton-cancel',
                    'depends': ['state'],
                    },
                'review': {
                    'invisible': Eval('state') != 'approved',
                    'icon': 'tryton-refresh',
                    'depends': ['state'],
                    },
                'renew': {
                    'invisible': ((Eval('state') != 'approved')
                        | ~Eval('end_date')),
                    'icon': 'tryton-forward',
                    'depends': ['state', 'end_date'],
                    },
                'terminate': {
                    'invisible': Eval('state') != 'approved',
                    'icon': 'tryton-close',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def default_state(cls):
        return 'draft'

    @fields.depends('partner', '_parent_partner.company')
    def on_change_with_company(self, name=None):
        return self.partner.company if self.partner else None

    @classmethod
    def search_company(cls, name, clause):
        return [('partner.' + clause[0], *clause[1:])]

    @classmethod
    def _evaluate(cls, enrolments):
        pool = Pool()
        Date = pool.get('ir.date')
        Tier = pool.get('prm.program.tier')
        result = Tier.evaluate(
            {(e.partner, e.program) for e in enrolments}, Date.today())
        return {e: result[e.partner, e.program] for e in enrolments}

    @classmethod
    def get_evaluation(cls, enrolments, names):
        values = {n: {} for n in names}
        for enrolment, result in cls._evaluate(enrolments).items():
            eligible, reached = result
            if 'eligible_tier' in names:
                values['eligible_tier'][enrolment.id] = (
                    eligible.id if eligible else None)
            if 'progress' in names:
                values['progress'][enrolment.id] = cls._explain(reached)
        return values

    @classmethod
    def _explain(cls, reached):
        "Return the text of the values that were reached"
        lines, tier = [], None
        for criterion, value in reached:
            if criterion.tier != tier:
                tier = criterion.tier
                lines.append(tier.name)
            lines.append(f'- {criterion.explain(value)}')
        return '\n'.join(lines)

    def get_rec_name(self, name):
        return f'{self.program.rec_name} - {self.partner.rec_name}'

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, operand, *extra = clause
        if operator.startswith('!') or operator.startswith('not '):
            bool_op = 'AND'
        else:
            bool_op = 'OR'
        return [bool_op,
            ('program.rec_name', operator, operand, *extra),
            ('partner.rec_name', operator, operand, *extra),
            ]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['rejected', 'expired', 'terminated']),
                    'muted', '')),
            ]

    @classmethod
    def check_modification(
            cls, mode, enrolments, values=None, external=False):
        super().check_modification(
            mode, enrolments, values=values, external=external)
        protected = {'partner', 'program', 'tier', 'start_date', 'end_date'}
        if mode == 'create' and external:
            for enrolment in enrolments:
                if enrolment.state != 'draft':
                    raise EnrolmentAccessError(gettext(
                            'prm.msg_enrolment_create_draft',
                            enrolment=enrolment.rec_name))
        elif mode == 'write' and external and values.keys() & (
                protected | {'state', 'review_date'}):
            for enrolment in enrolments:
                if (enrolment.state != 'draft'
                        or values.keys() & {'state', 'review_date'}):
                    raise EnrolmentAccessError(gettext(
                            'prm.msg_enrolment_modify_draft',
                            enrolment=enrolment.rec_name))
        elif mode == 'delete':
            for enrolment in enrolments:
                if enrolment.state != 'draft':
                    raise EnrolmentAccessError(gettext(
                            'prm.msg_enrolment_delete_draft',
                            enrolment=enrolment.rec_name))

    @classmethod
    def copy(cls, enrolments, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('start_date', None)
        default.setdefault('end_date', None)
        default.setdefault('review_date', None)
        default.setdefault('decisions', None)
        return super().copy(enrolments, default=default)

    @classmethod
    @ModelView.button
    @Workflow.transition('draft')
    def draft(cls, enrolments):
        pass

    @classmethod
    @ModelView.button
    @Workflow.transition('pending')
    def submit(cls, enrolments):
        "Ask for the tier, by default the one that the partner may have"
        evaluation = None
        for enrolment in enrolments:
            if enrolment.partner.state == 'ended':
                raise EnrolmentError(gettext(
                        'prm.msg_enrolment_partner_ended',
                        enrolment=enrolment.rec_name))
            if not enrolment.tier:
                if evaluation is None:
                    evaluation = cls._evaluate(enrolments)
                enrolment.tier, _ = evaluation[enrolment]
                if not enrolment.tier:
                    raise EnrolmentError(gettext(
                            'prm.msg_enrolment_tier',
                            enrolment=enrolment.rec_name))
        cls.save(enrolments)

    @classmethod
    @ModelView.button
    @Workflow.transition('approved')
    def approve(cls, enrolments):
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        for enrolment in enrolments:
            program = enrolment.program
            if not enrolment.start_date:
                enrolment.start_date = today
            if not enrolment.end_date and program.term_months:
                enrolment.end_date = (
                    enrolment.start_date
                    + relativedelta(months=program.term_months)
                    - relativedelta(days=1))
            enrolment.review_date = max(enrolment.start_date, today) + (
                relativedelta(months=program.review_months))
        cls.save(enrolments)
        cls._decide(enrolments, 'entry')

    @classmethod
    def _decide(cls, enrolments, kind):
        "Keep how the enrolments got or lost their tier"
        pool = Pool()
        Decision = pool.get('prm.enrolment.decision')
        evaluation = cls._evaluate(enrolments) if kind == 'entry' else {}
        to_create = []
        for enrolment in enrolments:
            decision = {
                'enrolment': enrolment.id,
                'kind': kind,
                'state': 'approved',
                'decided_by': Transaction().user,
                'decided_at': dt.datetime.now(),
                }
            if kind == 'entry':
                decision['to_tier'] = enrolment.tier.id
                decision['explanation'] = cls._explain(
                    evaluation[enrolment][1])
            else:
                decision['from_tier'] = enrolment.tier.id
            to_create.append(decision)
        Decision.create(to_create)
        if kind != 'entry':
            Decision.withdraw(Decision.search([
                        ('enrolment', 'in', list(map(int, enrolments))),
                        ('state', '=', 'proposed'),
                        ]))

    @classmethod
    @ModelView.button
    @Workflow.transition('rejected')
    def reject(cls, enrolments):
        pass

    @classmethod
    @ModelView.button
    def renew(cls, enrolments):
        "Let the enrolments last one more term"
        for enrolment in enrolments:
            if (enrolment.state == 'approved'
                    and enrolment.end_date and enrolment.program.term_months):
                # From the start, such that the ends of months stay
                months, end_date = 0, enrolment.end_date
                while end_date <= enrolment.end_date:
                    months += enrolment.program.term_months
                    end_date = (
                        enrolment.start_date + relativedelta(months=months)
                        - relativedelta(days=1))
                enrolment.end_date = end_date
        cls.save(enrolments)

    @classmethod
    @ModelView.button
    @Workflow.transition('terminated')
    def terminate(cls, enrolments):
        "End the enrolments today unless they end before"
        cls._end(enrolments)
        cls._decide(enrolments, 'termination')

    @classmethod
    @Workflow.transition('terminated')
    def leave(cls, enrolments):
        "End the enrolments by a decision that is already kept"
        cls._end(enrolments)

    @classmethod
    def _end(cls, enrolments):
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        for enrolment in enrolments:
            if not enrolment.end_date or enrolment.end_date > today:
                enrolment.end_date = max(today, enrolment.start_date)
        cls.save(enrolments)

    @classmethod
    @Workflow.transition('expired')
    def expire(cls, enrolments):
        cls._decide(enrolments, 'expiry')

    @classmethod
    @ModelView.button
    def review(cls, enrolments):
        """Propose the decisions that follow from what the partners reach

        A partner who may have a higher tier is proposed for it at once, one
        who no longer fulfils the criteria at the end of the grace period.
        What is proposed but no longer true is withdrawn.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        Decision = pool.get('prm.enrolment.decision')
        today = Date.today()
        enrolments = [e for e in enrolments if e.state == 'approved']
        if not enrolments:
            return
        cls.lock(enrolments)
        proposed = {d.enrolment: d for d in Decision.search([
                    ('enrolment', 'in', list(map(int, enrolments))),
                    ('state', '=', 'proposed'),
                    ])}
        to_create, to_withdraw = [], []
        reviewed = defaultdict(list)
        for enrolment, result in cls._evaluate(enrolments).items():
            eligible, reached = result
            decision = proposed.get(enrolment)
            if not decision or decision.automatic:
                if decision and decision.to_tier != eligible:
                    to_withdraw.append(decision)
                    decision = None
                if not decision and eligible != enrolment.tier:
                    to_create.append(
                        Decision.propose(enrolment, eligible, reached, today))
            if not enrolment.review_date or enrolment.review_date <= today:
                reviewed[today + relativedelta(
                        months=enrolment.program.review_months)
                    ].append(enrolment)
        if to_withdraw:
            Decision.withdraw(to_withdraw)
        if to_create:
            Decision.create(to_create)
        if reviewed:
            cls.write(*sum((
                        (es, {'review_date': date})
                        for date, es in reviewed.items()), ()))

    @classmethod
    def follow_up(cls):
        """Expire what is over and review what is to be

        The enrolments about which something is proposed are reviewed each
        time. The day is the one of the company of the context.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        domain = [('state', '=', 'approved')]
        company = Transaction().context.get('company')
        if company is not None:
            domain.append(('partner.company', '=', company))
        if expired := cls.search(domain + [('end_date', '<', today)]):
            cls.expire(expired)
        cls.review(cls.search(domain + [
                    ['OR',
                        ('review_date', '=', None),
                        ('review_date', '<=', today),
                        ('decisions.state', '=', 'proposed'),
                        ],
                    ]))


class EnrolmentDecision(Workflow, ModelSQL, ModelView):
    __name__ = 'prm.enrolment.decision'
    __string__ = "Decision of Tier"

    _states = {
        'readonly': (Eval('state') != 'proposed') | (Eval('id', -1) >= 0),
        }

    enrolment = fields.Many2One(
        'prm.enrolment', "Enrolment", required=True, ondelete='CASCADE',
        states=_states)
    partner = fields.Function(
        fields.Many2One('prm.partner', "Partner"),
        'on_change_with_partner', searcher='search_partner')
    program = fields.Function(
        fields.Many2One('prm.program', "Program"),
        'on_change_with_program')
    kind = fields.Selection([
            ('entry', "Entry"),
            ('promotion', "Promotion"),
            ('demotion', "Demotion"),
            ('expiry', "Expiry"),
            ('termination', "Termination"),
            ], "Kind", readonly=True, required=True, sort=False)
    date = fields.Date(
        "Date", required=True, readonly=True,
        help="When the change was proposed.")
    from_tier = fields.Many2One(
        'prm.program.tier', "From", readonly=True, ondelete='RESTRICT')
    to_tier = fields.Many2One(
        'prm.program.tier', "To", ondelete='RESTRICT',
        domain=[
            ('program', '=', Eval('program', -1)),
            ],
        states=_states,
        help="The tier that the partner gets.\n"
        "Without it the partner leaves the program.")
    grace_date = fields.Date(
        "End of Grace", readonly=True,
        states={
            'invisible': ~Eval('grace_date'),
            },
        help="The last day on which the partner keeps its tier.")
    reason = fields.Text(
        "Reason",
        states={
            'readonly': Eval('state') != 'proposed',
            },
        help="Why the tier changes.")
    explanation = fields.Text(
        "Explanation", readonly=True,
        help="What the partner had reached of the criteria.")
    automatic = fields.Boolean(
        "Automatic", readonly=True,
        help="Proposed by the review of the enrolment.")
    decided_by = fields.Many2One(
        'res.user', "Decided By", readonly=True, ondelete='RESTRICT')
    decided_at = fields.DateTime("Decided At", readonly=True)
    state = fields.Selection([
            ('proposed', "Proposed"),
            ('approved', "Approved"),
            ('rejected', "Rejected"),
            ('withdrawn', "Withdrawn"),
            ], "State", readonly=True, required=True, sort=False)

    del _states

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('enrolment')
        t = cls.__table__()
        cls._order = [
            ('date', 'DESC'),
            ('id', 'DESC'),
            ]
        cls._sql_constraints += [
            ('proposed_exclude',
                Exclude(t, (t.enrolment, Equal),
                    where=t.state == Inline('proposed')),
                'prm.msg_decision_proposed_unique'),
            ]
        cls._sql_indexes.update({
                Index(t, (t.enrolment, Index.Equality())),
                Index(t, (t.date, Index.Range(order='DESC'))),
                })
        cls._transitions |= {
            ('proposed', 'approved'),
            ('proposed', 'rejected'),
            ('proposed', 'withdrawn'),
            }
        cls._buttons.update({
                name: {
                    'invisible': Eval('state') != 'proposed',
                    'icon': icon,
                    'depends': ['state'],
                    }
                for name, icon in [
                    ('approve', 'tryton-ok'),
                    ('reject', 'tryton-cancel'),
                    ('withdraw', 'tryton-back'),
                    ]})

    @classmethod
    def default_date(cls):
        return Pool().get('ir.date').today()

    @classmethod
    def default_state(cls):
        return 'proposed'

    @classmethod
    def default_automatic(cls):
        return False

    @fields.depends('enrolment', '_parent_enrolment.partner')
    def on_change_with_partner(self, name=None):
        return self.enrolment.partner if self.enrolment else None

    @classmethod
    def search_partner(cls, name, clause):
        return [('enrolment.' + clause[0], *clause[1:])]

    @fields.depends('enrolment', '_parent_enrolment.program')
    def on_change_with_program(self, name=None):
        return self.enrolment.program if self.enrolment else None

    @fields.depends('enrolment', '_parent_enrolment.tier', 'to_tier')
    def on_change_to_tier(self):
        if self.enrolment:
            self.from_tier = self.enrolment.tier
            self.kind = self._kind(self.from_tier, self.to_tier)

    @classmethod
    def _kind(cls, from_tier, to_tier):
        if from_tier and (
                not to_tier or to_tier._rank() < from_tier._rank()):
            return 'demotion'
        return 'promotion'

    @classmethod
    def propose(cls, enrolment, tier, reached, date):
        "Return the values of the proposal to give the tier to the enrolment"
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        kind = cls._kind(enrolment.tier, tier)
        return {
            'enrolment': enrolment.id,
            'kind': kind,
            'date': date,
            'from_tier': enrolment.tier.id,
            'to_tier': tier.id if tier else None,
            'grace_date': (
                date + dt.timedelta(days=enrolment.program.grace_days)
                if kind == 'demotion' else None),
            'explanation': Enrolment._explain(reached),
            'automatic': True,
            }

    def get_rec_name(self, name):
        return ' → '.join(
            t.name if t else '-' for t in [self.from_tier, self.to_tier])

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('enrolment.rec_name', *clause[1:])]

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree', 'visual',
                If(Eval('state').in_(['rejected', 'withdrawn']),
                    'muted', '')),
            ]

    @classmethod
    def create(cls, vlist):
        pool = Pool()
        Enrolment = pool.get('prm.enrolment')
        Tier = pool.get('prm.program.tier')
        vlist = [v.copy() for v in vlist]
        enrolments = {
            e.id: e for e in Enrolment.browse(
                list({v['enrolment'] for v in vlist if v.get('enrolment')}))}
        tiers = {
            t.id: t for t in Tier.browse(
                list({v['to_tier'] for v in vlist if v.get('to_tier')}))}
        for values in vlist:
            # What is proposed always starts from the present tier
            enrolment = enrolments.get(values.get('enrolment'))
            if enrolment and values.get('state', 'proposed') == 'proposed':
                tier = enrolment.tier
                values['from_tier'] = tier.id if tier else None
                values['kind'] = cls._kind(
                    tier, tiers.get(values.get('to_tier')))
        return super().create(vlist)

    @classmethod
    def check_modification(
            cls, mode, decisions, values=None, external=False):
        super().check_modification(
            mode, decisions, values=values, external=external)
        if mode == 'create' and external:
            for decision in decisions:
                if (decision.state != 'proposed'
                        or decision.decided_by or decision.automatic):
                    raise DecisionAccessError(gettext(
                            'prm.msg_decision_create_proposed',
                            enrolment=decision.enrolment.rec_name))
                if decision.enrolment.state != 'approved':
                    raise DecisionAccessError(gettext(
                            'prm.msg_decision_enrolment',
                            enrolment=decision.enrolment.rec_name))
        elif mode == 'write' and external:
            for decision in decisions:
                if (decision.state != 'proposed'
                        or values.keys() - {'reason'}):
                    raise DecisionAccessError(gettext(
                            'prm.msg_decision_modify',
                            enrolment=decision.enrolment.rec_name))
        elif mode == 'delete':
            for decision in decisions:
                if decision.enrolment.state != 'draft':
                    raise DecisionAccessError(gettext(
                            'prm.msg_decision_delete',
                            enrolment=decision.enrolment.rec_name))

    @classmethod
    def copy(cls, decisions, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('decided_by', None)
        default.setdefault('decided_at', None)
        default.setdefault('automatic', False)
        return super().copy(decisions, default=default)

    @classmethod
    def _decided(cls, decisions):
        cls.write(decisions, {
                'decided_by': Transaction().user,
                'decided_at': dt.datetime.now(),
                })

    @classmethod
    @ModelView.button
    @Workflow.transition('approved')
    def approve(cls, decisions):
        "Give the tiers to the enrolments"
        pool = Pool()
        Date = pool.get('ir.date')
        Enrolment = pool.get('prm.enrolment')
        today = Date.today()
        to_write, to_leave = defaultdict(list), []
        Enrolment.lock([d.enrolment for d in decisions])
        for decision in decisions:
            enrolment = decision.enrolment
            if (enrolment.state != 'approved'
                    or enrolment.tier != decision.from_tier):
                raise DecisionError(gettext(
                        'prm.msg_decision_stale',
                        enrolment=enrolment.rec_name))
            if not decision.automatic and not decision.reason:
                raise DecisionError(gettext(
                        'prm.msg_decision_reason',
                        enrolment=enrolment.rec_name))
            if decision.grace_date and decision.grace_date >= today:
                raise DecisionError(gettext(
                        'prm.msg_decision_grace',
                        enrolment=enrolment.rec_name,
                        date=pool.get('ir.lang').get().strftime(
                            decision.grace_date)))
            if decision.to_tier:
                to_write[decision.to_tier.id].append(enrolment)
            else:
                to_leave.append(enrolment)
        cls._decided(decisions)
        if to_write:
            Enrolment.write(*sum((
                        (es, {'tier': tier})
                        for tier, es in to_write.items()), ()))
        if to_leave:
            Enrolment.leave(to_leave)

    @classmethod
    @ModelView.button
    @Workflow.transition('rejected')
    def reject(cls, decisions):
        "Keep the tiers"
        for decision in decisions:
            if not decision.reason:
                raise DecisionError(gettext(
                        'prm.msg_decision_reason',
                        enrolment=decision.enrolment.rec_name))
        cls._decided(decisions)

    @classmethod
    @ModelView.button
    @Workflow.transition('withdrawn')
    def withdraw(cls, decisions):
        cls._decided(decisions)
