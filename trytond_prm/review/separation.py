# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal

from sql import Cast, Literal, Null, Table, Union, Window
from sql.aggregate import Count, Max, Min
from sql.conditionals import Case, Coalesce, Greatest
from sql.functions import Extract, Lead
from sql.operators import Concat, Exists

from trytond import backend
from trytond.model import ModelSQL, ModelView, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval
from trytond.transaction import Transaction, without_check_access

from ..model import AmountsMixin, MonthMixin
from ..tools import sql_month, sql_sum
from .month import Figures

PHASES = ['before', 'during', 'after']
# Room for the months from 1900 to 2733 of each separation
_MONTHS = 10000
# Room for the parties of each separation
_PARTIES = 10 ** 9
KINDS = [
    'buyback_principal', 'buyback_interest', 'concession', 'duty', 'turnover',
    'unfinished']
# What is also in the imputed revenue
IMPUTED = ['buyback_principal', 'buyback_interest', 'concession']


def month_index(date):
    "SQL number of the month of a date"
    return (
        (Cast(Extract('year', date), 'INTEGER') - Literal(1900)) * Literal(12)
        + Cast(Extract('month', date), 'INTEGER'))


def greatest(*expressions):
    if backend.name == 'sqlite':
        # The function of many arguments has another name there
        value, *others = expressions
        for other in others:
            value = Case((other > value, other), else_=value)
        return value
    return Greatest(*expressions)


def periods_query():
    """Return the SQL query of the separations that have milestones

    Its columns are separation, company, party, start_date (of the first
    milestone), end_date (of the last payment or null), and next_date (the
    start of the next separation of the company or null).
    """
    pool = Pool()
    Milestone = pool.get('prm.separation.milestone')
    Separation = pool.get('prm.separation')
    milestone = Milestone.__table__()
    separation = Separation.__table__()
    start_date = Min(milestone.date)
    periods = (separation
        .join(milestone, condition=milestone.separation == separation.id)
        .select(
            separation.id.as_('separation'),
            separation.company.as_('company'),
            separation.party.as_('party'),
            start_date.as_('start_date'),
            Max(Case(
                    (milestone.kind == 'last_payment', milestone.date),
                    else_=Null)).as_('end_date'),
            group_by=[
                separation.id, separation.company, separation.party]))
    return periods.select(
        periods.separation, periods.company, periods.party,
        periods.start_date, periods.end_date,
        Lead(
            periods.start_date,
            window=Window(
                [periods.company],
                order_by=[periods.start_date, periods.separation])
            ).as_('next_date'))


def phase_rows(start_date=None, end_date=None):
    """Return the SQL query of the items of review of each separation

    Its columns are separation, company, phase (the index in PHASES), date
    (the first of the month), measure, value and person.
    """
    Month = Pool().get('prm.review.month')
    items = Month.items(start_date=start_date, end_date=end_date)
    periods = periods_query()
    month = sql_month(items.date)
    return (periods
        .join(items, condition=items.company == periods.company)
        .select(
            periods.separation, periods.company,
            Case(
                (month < sql_month(periods.start_date), 0),
                ((periods.end_date == Null)
                    | (month <= sql_month(periods.end_date)), 1),
                else_=2).as_('phase'),
            month.as_('date'), items.measure, items.value, items.person))


class Separation(metaclass=PoolMeta):
    __name__ = 'prm.separation'

    cost = fields.Function(Monetary(
            "Cost", currency='currency', digits='currency',
            help="What the separation has cost, all years together."),
        'get_cost')

    @classmethod
    def get_cost(cls, separations, name):
        Cost = Pool().get('prm.separation.cost')
        costs = dict.fromkeys(map(int, separations), Decimal(0))
        with Transaction().set_context(prm_review=None):
            for cost in Cost.search([
                        ('separation', 'in', [s.id for s in separations]),
                        ], order=[]):
                costs[cost.separation.id] += cost.amount
        return costs


class _SeparationMixin:
    "What is told of a separation, in the currency of its company."
    __slots__ = ()

    separation = fields.Many2One('prm.separation', "Separation")
    company = fields.Many2One('company.company', "Company")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"), 'get_currency')

    @classmethod
    def get_currency(cls, records, name):
        return {r.id: r.company.currency.id for r in records}


class SeparationMonth(MonthMixin, AmountsMixin, Figures, ModelView):
    __name__ = 'prm.separation.month'
    __string__ = "Month of Separation"

    separation = fields.Many2One('prm.separation', "Separation")
    date = fields.Date("Month", help="The first day of the month.")
    phase = fields.Selection([
            ('before', "Before"),
            ('during', "During"),
            ('after', "After"),
            ], "Phase", sort=False)
    before_revenue = Monetary(
        "Gross Revenue before", currency='currency', digits='currency')
    during_revenue = Monetary(
        "Gross Revenue during", currency='currency', digits='currency')
    after_revenue = Monetary(
        "Gross Revenue after", currency='currency', digits='currency')
    milestones = fields.Integer(
        "Milestones", help="The number of milestones of the month.")
    milestone_names = fields.Function(
        fields.Char("Names of Milestones"), 'get_milestone_names')
    # The marks are as high as the series that they are drawn with
    mark_revenue = Monetary(
        "Milestone", currency='currency', digits='currency')
    mark_cost = Monetary(
        "Milestone", currency='currency', digits='currency')
    mark_pipeline = Monetary(
        "Milestone", currency='currency', digits='currency')
    mark_interactions = fields.Integer("Milestone")
    mark_tension = fields.Numeric("Milestone", digits=(None, 4))
    exposure_open = fields.Function(Monetary(
            "Exposure not yet Handled",
            currency='currency', digits='currency',
            help="The part of the exposure whose handover is not accepted at "
            "the end of the month."),
        'get_exposure')
    exposure_handled = fields.Function(Monetary(
            "Handled Exposure", currency='currency', digits='currency',
            help="The part of the exposure whose handover is accepted at the "
            "end of the month."),
        'get_exposure')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('separation', 'DESC'), ('date', 'ASC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        Milestone = pool.get('prm.separation.milestone')
        Month = pool.get('prm.review.month')
        context = Transaction().context
        end_date = context.get('end_date') or Date.today()
        milestone = Milestone.__table__()
        # A month with a milestone is shown also if nothing else happened
        rows = phase_rows(context.get('start_date'), end_date)
        periods = periods_query()
        rows = Union(
            rows.select(
                rows.separation, rows.company, rows.date, rows.measure,
                rows.value, rows.person),
            periods
            .join(milestone,
                condition=milestone.separation == periods.separation)
            .select(
                periods.separation, periods.company,
                sql_month(milestone.date).as_('date'),
                Literal('milestone').as_('measure'), Literal(1).as_('value'),
                Cast(Null, 'INTEGER').as_('person'),
                where=milestone.date <= end_date),
            all_=True)
        figures = Month.figures(rows)
        months = rows.select(
            rows.separation, rows.company, rows.date,
            Count(Case((rows.measure == 'milestone', rows.value))
                ).as_('milestones'),
            *(e.as_(n) for n, e in figures.items()),
            group_by=[rows.separation, rows.company, rows.date],
            # A target does not make a month happen
            having=Count(Case((rows.measure != 'target', 1))) > 0)
        periods = periods_query()
        phase = Case(
            (months.date < sql_month(periods.start_date), 'before'),
            ((periods.end_date == Null)
                | (months.date <= sql_month(periods.end_date)), 'during'),
            else_='after')

        def mark(*names):
            value = Max(
                greatest(*(Coalesce(getattr(months, n), 0) for n in names)),
                window=Window([months.separation]))
            return Case((months.milestones > 0, value), else_=Null)

        def revenue(value):
            return Case((phase == value, months.gross_revenue), else_=Null)

        return (months
            .join(periods,
                condition=months.separation == periods.separation)
            .select(
                (months.separation * Literal(_MONTHS)
                    + month_index(months.date)).as_('id'),
                months.separation, months.company, months.date,
                phase.as_('phase'),
                *(revenue(p).as_(f'{p}_revenue') for p in PHASES),
                months.milestones,
                mark('gross_revenue').as_('mark_revenue'),
                mark('concessions', 'buyback_paid').as_('mark_cost'),
                mark('weighted_pipeline').as_('mark_pipeline'),
                mark('interactions').as_('mark_interactions'),
                Case((months.milestones > 0, 1), else_=Null
                    ).as_('mark_tension'),
                *(getattr(months, n) for n in figures)))

    @classmethod
    def get_milestone_names(cls, months, name):
        Milestone = Pool().get('prm.separation.milestone')
        names = defaultdict(list)
        for milestone in Milestone.search([
                    ('separation', 'in',
                        list({m.separation.id for m in months})),
                    ]):
            names[milestone.separation.id, milestone.date.replace(day=1)
                ].append(milestone.kind_string)
        return {
            m.id: ', '.join(names[m.separation.id, m.date]) for m in months}

    @classmethod
    def get_exposure(cls, months, names):
        "Return what is exposed at the end of the months since its period"
        Exposure = Pool().get('prm.separation.exposure')
        separations = list({m.separation.id for m in months})
        accepted = {
            e.id: e.accepted_date for e in Exposure.search([
                    ('separation', 'in', separations),
                    ('state', '=', 'accepted'),
                    ])}
        exposures = defaultdict(list)
        for id_, separation, _, amount in Exposure._revenues(
                lambda e: (e.separation, separations)):
            exposures[separation].append((accepted.get(id_), amount))
        result = {n: {} for n in names}
        for month in months:
            start = month.separation.exposure_end
            handled = open_ = None
            if start and month.date >= start.replace(day=1):
                handled = open_ = Decimal(0)
                for date, amount in exposures[month.separation.id]:
                    if date and date.replace(day=1) <= month.date:
                        handled += amount
                    else:
                        open_ += amount
            for name, value in [
                    ('exposure_handled', handled), ('exposure_open', open_)]:
                if name in result:
                    result[name][month.id] = value
        return result

    def get_rec_name(self, name):
        return f'{self.separation.rec_name} - {self.date:%Y-%m}'


class SeparationParty(_SeparationMixin, AmountsMixin, ModelSQL, ModelView):
    __name__ = 'prm.separation.party'
    __string__ = "Party of Separation"

    party = fields.Many2One(
        'party.party', "Party",
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    partner = fields.Many2One(
        'prm.partner', "Lost Partner",
        help="The partner that ended since the first milestone.")
    end_date = fields.Function(fields.Date("Ended on"), 'get_partner')
    end_reason = fields.Function(fields.Many2One(
            'prm.partner.end_reason', "End Reason"), 'get_partner')
    revenue_before = Monetary(
        "Revenue before", currency='currency', digits='currency',
        help="The actual revenue of the 12 months before the one of the "
        "first milestone.")
    revenue_since = Monetary(
        "Revenue since", currency='currency', digits='currency',
        help="The actual revenue of the 12 months from the one of the first "
        "milestone.")
    change = Monetary(
        "Change", currency='currency', digits='currency',
        help="The revenue since less the one before.")
    exposed = fields.Boolean(
        "Exposed",
        help="Checked when the party is in the exposure of the separation.")
    lost = fields.Boolean(
        "Lost",
        help="Checked when the partner ended since the first milestone or, "
        "once the separation is over, when a customer of before bought "
        "nothing since.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('separation', 'DESC'), ('revenue_before', 'DESC'),
            ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Exposure = pool.get('prm.separation.exposure')
        Partner = pool.get('prm.partner')
        Performance = pool.get('prm.performance')
        exposure = Exposure.__table__()
        partner = Partner.__table__()
        other = Partner.__table__()
        actual = Performance.actual_query()

        def select(from_, periods, party, measure, value, where):
            return from_.select(
                periods.separation, periods.company, periods.start_date,
                periods.end_date, party.as_('party'),
                Literal(measure).as_('measure'), value.as_('value'),
                where=where)

        queries = []
        for measure, first, last in [('before', -12, -1), ('since', 0, 11)]:
            periods = periods_query()
            actual = Performance.actual_query()
            months = month_index(actual.date) - month_index(
                periods.start_date)
            queries.append(select(
                    periods.join(actual,
                        condition=actual.company == periods.company),
                    periods, actual.party, measure, actual.amount,
                    (months >= first) & (months <= last)))
        periods = periods_query()
        queries.append(select(
                periods.join(partner,
                    condition=partner.company == periods.company),
                periods, partner.party, 'partner', partner.id,
                (partner.state == 'ended')
                & (partner.end_date >= periods.start_date)
                & ((periods.next_date == Null)
                    | (partner.end_date < periods.next_date))
                & ~Exists(other.select(
                        Literal(1),
                        where=(other.company == partner.company)
                        & (other.party == partner.party)
                        & (other.state != 'ended')))))
        periods = periods_query()
        queries.append(select(
                periods.join(exposure,
                    condition=exposure.separation == periods.separation),
                periods, exposure.party, 'exposure', exposure.id,
                Literal(True)))
        rows = Union(*queries, all_=True)

        def total(plus, minus=''):
            return sql_sum(Case(
                    (rows.measure == plus, rows.value),
                    (rows.measure == minus, -rows.value),
                    else_=0))

        partner = Cast(
            Max(Case((rows.measure == 'partner', rows.value))), 'INTEGER')
        return rows.select(
            (Cast(rows.separation, 'BIGINT') * Literal(_PARTIES)
                + rows.party).as_('id'),
            rows.separation, rows.company, rows.party,
            partner.as_('partner'),
            total('before').as_('revenue_before'),
            total('since').as_('revenue_since'),
            total('since', 'before').as_('change'),
            (Count(Case((rows.measure == 'exposure', rows.value)))
                > 0).as_('exposed'),
            Case(
                (partner != Null, Literal(True)),
                ((rows.end_date != Null)
                    & (total('before') > 0) & (total('since') <= 0),
                    Literal(True)),
                else_=Literal(False)).as_('lost'),
            group_by=[
                rows.separation, rows.company, rows.party, rows.end_date])

    @classmethod
    def get_partner(cls, records, names):
        result = {n: dict.fromkeys(map(int, records)) for n in names}
        for record in records:
            if record.partner:
                for name in names:
                    value = getattr(record.partner, name)
                    if name == 'end_reason' and value:
                        value = value.id
                    result[name][record.id] = value
        return result

    def get_rec_name(self, name):
        return f'{self.separation.rec_name} - {self.party.rec_name}'


class SeparationCost(_SeparationMixin, AmountsMixin, ModelSQL, ModelView):
    __name__ = 'prm.separation.cost'
    __string__ = "Cost of Separation"

    date = fields.Date(
        "Date",
        help="The date to which the cost is imputed: the one of the payment "
        "of a buyback, of the imputation of a gesture, of the leave of an "
        "employee or of the stop of an action.")
    year = fields.Many2One('prm.separation.year', "Year")
    kind = fields.Selection([
            ('buyback_principal', "Buyback Principal"),
            ('buyback_interest', "Buyback Interest"),
            ('concession', "Gestures due to the Separation"),
            ('duty', "Registration Duty"),
            ('turnover', "Staff Turnover"),
            ('unfinished', "Unfinished Work"),
            ], "Kind", sort=False)
    kind_string = kind.translated('kind')
    origin = fields.Reference(
        "Origin", selection='get_origins',
        help="The document that costs.")
    document = fields.Function(fields.Char(
            "Document",
            help="The name of the document, also for those who may not "
            "open it."),
        'get_document')
    amount = Monetary("Amount", currency='currency', digits='currency')
    imputed = fields.Boolean(
        "Imputed",
        help="Checked when the amount is in the imputed revenue of the "
        "reviews.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('separation', 'DESC'), ('date', 'ASC'), ('kind', 'ASC'),
            ('id', 'ASC')]

    @classmethod
    def get_origins(cls):
        Model = Pool().get('ir.model')
        return [(m, Model.get_name(m)) for m in cls._get_origins()]

    @classmethod
    @without_check_access
    def get_document(cls, costs, name):
        return {c.id: c.origin.rec_name for c in cls.browse(costs)}

    @classmethod
    def _get_origins(cls):
        "Return the names of the models that cost"
        return [
            'prm.buyback',
            'prm.buyback.instalment',
            'prm.concession',
            'prm.plan.action',
            'prm.vacancy',
            ]

    @classmethod
    def table_query(cls):
        costs = Union(*cls._queries(), all_=True)
        review = Transaction().context.get('prm_review')
        if review is not None:
            costs = cls._consolidated(review, costs)
        costs = costs.select(
            costs.separation, costs.company, costs.date, costs.kind,
            costs.model, costs.origin, costs.amount,
            month_index(costs.date).as_('month'),
            Cast(Extract('year', costs.date), 'INTEGER').as_('year'))
        amount = sql_sum(costs.amount)
        kind = Case(*((costs.kind == k, i) for i, k in enumerate(KINDS)))
        return costs.select(
            # Each document has one row by separation, kind and month
            ((((Cast(costs.origin, 'BIGINT') * Literal(len(KINDS)) + kind)
                    * Literal(_MONTHS) + costs.month)
                    * Literal(1000))
                + costs.separation % Literal(1000)).as_('id'),
            costs.separation, costs.company,
            Max(costs.date).as_('date'),
            (costs.separation * Literal(_MONTHS) + costs.year).as_('year'),
            costs.kind,
            Concat(Concat(costs.model, ','), Cast(costs.origin, 'VARCHAR')
                ).as_('origin'),
            cls.amount.sql_cast(amount).as_('amount'),
            costs.kind.in_(IMPUTED).as_('imputed'),
            group_by=[
                costs.separation, costs.company, costs.kind, costs.model,
                costs.origin, costs.month, costs.year])

    @classmethod
    def _consolidated(cls, review, costs):
        "Return the query of the costs in the currency of the review"
        pool = Pool()
        Review = pool.get('prm.review')
        Separation = pool.get('prm.separation')
        separation = Separation.__table__()
        costs, _ = Review.consolidated(review, costs, 'amount')
        return costs.join(separation,
            condition=costs.separation == separation.id).select(
            costs.separation, separation.company, costs.date, costs.kind,
            costs.model, costs.origin, costs.amount)

    @classmethod
    def get_currency(cls, costs, name):
        Review = Pool().get('prm.review')
        review = Transaction().context.get('prm_review')
        if review is not None:
            return dict.fromkeys(
                map(int, costs), Review(review).currency.id)
        return super().get_currency(costs, name)

    @classmethod
    def _queries(cls):
        "Return the SQL queries of what the separations cost"
        return [
            *cls._buybacks(), cls._duties(), cls._concessions(),
            cls._vacancies(), cls._actions()]

    @classmethod
    def _select(
            cls, from_, separation, date, kind, model, origin, amount, where):
        id_ = getattr(separation, (
                'id' if isinstance(separation, Table) else 'separation'))
        return from_.select(
            id_.as_('separation'),
            separation.company.as_('company'),
            date.as_('date'),
            Cast(Literal(kind), 'VARCHAR').as_('kind'),
            Cast(Literal(model), 'VARCHAR').as_('model'),
            origin.as_('origin'),
            amount.as_('amount'),
            where=where)

    @classmethod
    def _during(cls, periods, date, over=False):
        """Return the SQL condition of what the separation is charged with

        It starts with the first milestone and ends with the next separation
        or, unless over, with the last payment.
        """
        where = (
            (date >= periods.start_date)
            & ((periods.next_date == Null) | (date < periods.next_date)))
        if not over:
            where &= (
                (periods.end_date == Null) | (date <= periods.end_date))
        return where

    @classmethod
    def _buybacks(cls):
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Payment = pool.get('prm.buyback.payment')
        Separation = pool.get('prm.separation')
        queries = []
        for name in ['principal', 'interest']:
            buyback = Buyback.__table__()
            payment = Payment.__table__()
            separation = Separation.__table__()
            amount = getattr(payment, name)
            queries.append(cls._select(
                    payment
                    .join(buyback, condition=payment.buyback == buyback.id)
                    .join(separation,
                        condition=cls._is_of_buyback(separation, buyback)),
                    separation, payment.date, f'buyback_{name}',
                    'prm.buyback.instalment', payment.instalment, amount,
                    amount != 0))
        return queries

    @classmethod
    def _duties(cls):
        "Return the query of the duties that the moves of buybacks owe"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        BuybackMove = pool.get('prm.buyback-account.move')
        Line = pool.get('account.move.line')
        Move = pool.get('account.move')
        Separation = pool.get('prm.separation')
        buyback = Buyback.__table__()
        buyback_move = BuybackMove.__table__()
        line = Line.__table__()
        move = Move.__table__()
        separation = Separation.__table__()
        return cls._select(
            buyback
            .join(buyback_move, condition=buyback_move.buyback == buyback.id)
            .join(move, condition=buyback_move.move == move.id)
            .join(line,
                condition=(line.move == move.id)
                & (line.account == buyback.account_duty_payable))
            .join(separation,
                condition=cls._is_of_buyback(separation, buyback)),
            separation, move.date, 'duty', 'prm.buyback', buyback.id,
            line.credit - line.debit, move.state == 'posted')

    @classmethod
    def _is_of_buyback(cls, separation, buyback):
        "SQL condition of the separation of the buyback"
        return (
            (buyback.separation == separation.id)
            | ((buyback.separation == Null)
                & (buyback.company == separation.company)
                & (buyback.party == separation.party)))

    @classmethod
    def _concessions(cls):
        pool = Pool()
        Concession = pool.get('prm.concession')
        Reason = pool.get('prm.concession.reason')
        concession = Concession.__table__()
        imputed = Concession.imputed_query()
        periods = periods_query()
        reason = Reason.__table__()
        return cls._select(
            imputed
            .join(concession, condition=imputed.concession == concession.id)
            .join(reason, condition=concession.reason == reason.id)
            .join(periods, condition=periods.company == imputed.company),
            periods, imputed.date, 'concession', 'prm.concession',
            concession.id, imputed.amount,
            (reason.separation == Literal(True))
            & cls._during(periods, concession.date, over=True))

    @classmethod
    def _vacancies(cls):
        "The gestures of a vacancy count on their own"
        Vacancy = Pool().get('prm.vacancy')
        periods = periods_query()
        vacancy = Vacancy.__table__()
        amount = Coalesce(
            vacancy.manager_hours * vacancy.manager_hourly_cost, 0)
        for name in [
                'vacancy_cost', 'ramp_up_cost', 'lost_partners_cost',
                'recruitment_cost']:
            amount += Coalesce(getattr(vacancy, name), 0)
        return cls._select(
            vacancy.join(
                periods, condition=periods.company == vacancy.company),
            periods, vacancy.left_date, 'turnover', 'prm.vacancy',
            vacancy.id, amount, cls._during(periods, vacancy.left_date))

    @classmethod
    def _actions(cls):
        pool = Pool()
        Action = pool.get('prm.plan.action')
        Plan = pool.get('prm.plan')
        action = Action.__table__()
        periods = periods_query()
        plan = Plan.__table__()
        return cls._select(
            action
            .join(plan, condition=action.plan == plan.id)
            .join(periods, condition=periods.company == plan.company),
            periods, action.stopped_date, 'unfinished', 'prm.plan.action',
            action.id, Coalesce(action.cost, 0),
            action.state.in_(['shelved', 'abandoned'])
            & cls._during(periods, action.stopped_date))

    def get_rec_name(self, name):
        return self.document


class SeparationYear(_SeparationMixin, AmountsMixin, ModelSQL, ModelView):
    __name__ = 'prm.separation.year'
    __string__ = "Year of Separation"

    year = fields.Integer("Imputed Year")
    gross_revenue = Monetary(
        "Gross Revenue", currency='currency', digits='currency')
    other_concessions = Monetary(
        "Other Gestures", currency='currency', digits='currency',
        help="The gestures imputed to the year that are not due to the "
        "separation.")
    activity = Monetary(
        "Result of the Activity", currency='currency', digits='currency',
        help="The gross revenue less the other gestures.")
    buyback_principal = Monetary(
        "Buyback Principal", currency='currency', digits='currency')
    buyback_interest = Monetary(
        "Buyback Interest", currency='currency', digits='currency')
    concession = Monetary(
        "Gestures due to the Separation",
        currency='currency', digits='currency')
    duty = Monetary(
        "Registration Duty", currency='currency', digits='currency',
        help="The duty on the transfer of the shares, by date of its move.")
    turnover = Monetary(
        "Staff Turnover", currency='currency', digits='currency',
        help="The cost of the vacancies of those who left, "
        "without the gestures.")
    unfinished = Monetary(
        "Unfinished Work", currency='currency', digits='currency',
        help="The cost of the actions that were shelved or abandoned.")
    cost = Monetary(
        "Cost of the Separation", currency='currency', digits='currency',
        help="What the separation costs: the payments of the buyback, its "
        "duty, the gestures due to it, the turnover of the staff and the "
        "unfinished work.")
    result = Monetary(
        "Result less Cost", currency='currency', digits='currency')
    costs = fields.One2Many('prm.separation.cost', 'year', "Costs")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order = [
            ('separation', 'DESC'), ('year', 'ASC'), ('id', 'ASC')]

    @classmethod
    def table_query(cls):
        pool = Pool()
        Cost = pool.get('prm.separation.cost')
        Month = pool.get('prm.review.month')
        end_date = Transaction().context.get('end_date')
        with Transaction().set_context(prm_review=None):
            cost = Cost.__table__()
        items = Month.items(end_date=end_date)
        periods = periods_query()

        def year(date):
            return Cast(Extract('year', date), 'INTEGER')

        rows = Union(
            periods
            .join(items, condition=items.company == periods.company)
            .select(
                periods.separation, periods.company,
                year(items.date).as_('year'), items.measure, items.value,
                where=items.measure.in_(['ledger', 'booked', 'concession'])),
            cost.select(
                cost.separation, cost.company, year(cost.date).as_('year'),
                Concat('cost_', cost.kind).as_('measure'),
                cost.amount.as_('value'),
                where=cost.date <= end_date if end_date else None),
            all_=True)
        costs = [f'cost_{k}' for k in KINDS]

        def total(plus, minus=[]):
            return sql_sum(Case(
                    (rows.measure.in_(plus), rows.value),
                    (rows.measure.in_(minus or ['']), -rows.value),
                    else_=0))

        revenue = ['ledger', 'booked']
        return rows.select(
            (rows.separation * Literal(_MONTHS) + rows.year).as_('id'),
            rows.separation, rows.company, rows.year,
            total(revenue).as_('gross_revenue'),
            total(['concession'], ['cost_concession']
                ).as_('other_concessions'),
            total([*revenue, 'cost_concession'], ['concession']
                ).as_('activity'),
            *(total([f'cost_{k}']).as_(k) for k in KINDS),
            total(costs).as_('cost'),
            # The gestures due to the separation are among all the gestures
            total(revenue, ['concession', *(
                        c for c in costs if c != 'cost_concession')]
                ).as_('result'),
            group_by=[rows.separation, rows.company, rows.year],
            having=Count(Case((rows.measure.in_(costs), 1))) > 0)

    def get_rec_name(self, name):
        return f'{self.separation.rec_name} - {self.year}'
