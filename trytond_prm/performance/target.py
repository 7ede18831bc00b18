# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from calendar import monthrange
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal

from dateutil.relativedelta import relativedelta
from dateutil.rrule import MONTHLY, rrule
from sql.conditionals import Coalesce

from trytond.cache import Cache
from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, fields, tree
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If, PYSONEncoder
from trytond.transaction import Transaction, without_check_access
from trytond.wizard import Button, StateAction, StateView, Wizard

from ..model import MonthMixin, ReadonlyMixin, WorkflowAccessMixin, get_parents
from ..tools import sql_month, sql_sum, to_decimal
from .exceptions import PlanAccessError, TargetValidationError

_in = fields.SQL_OPERATORS['in']

# The order is part of the identifier of the rows of the report.
SCOPES = [
    ('company', "Company"),
    ('team', "Team"),
    ('employee', "Employee"),
    ('partner', "Partner"),
    ('category', "Product Category"),
    ('territory', "Territory"),
    ]
MEASURES = [
    ('revenue', "Revenue"),
    ('quantity', "Quantity"),
    ('interactions', "Interactions"),
    ('new_partners', "New Partners"),
    ('margin', "Margin"),
    ('won_deals', "Won Deals"),
    ]
# Those that need no other module
BASE_MEASURES = [m for m in MEASURES if m[0] != 'won_deals']
MONEY_MEASURES = ['revenue', 'margin']
COUNT_MEASURES = ['interactions', 'new_partners', 'won_deals']
MEASURE_SCOPES = {
    'revenue': [
        'company', 'team', 'employee', 'partner', 'category', 'territory'],
    'quantity': [
        'company', 'team', 'employee', 'partner', 'category', 'territory'],
    'interactions': [
        'company', 'team', 'employee', 'partner', 'territory'],
    'new_partners': ['company', 'team', 'employee', 'territory'],
    'margin': [
        'company', 'team', 'employee', 'partner', 'category', 'territory'],
    'won_deals': ['company', 'team', 'employee', 'partner', 'territory'],
    }

# What is spread
_SPREAD = [
    'start_date', 'end_date', 'floor', 'target', 'stretch', 'seasonality']
# What a revision of the target changes
_REVISED = [
    'scope', *(scope for scope, _ in SCOPES), 'measure', *_SPREAD]


def month_weights(start_date, end_date, shares=None):
    """Return the weight of each month of the period as (date, weight) pairs

    The date is the first day of the month. The weight is the share of the
    month, 1 without shares, times the part of its days inside the period.
    """
    weights = []
    for month in rrule(
            MONTHLY, dtstart=start_date.replace(day=1), until=end_date):
        first = month.date()
        days = monthrange(first.year, first.month)[1]
        last = first.replace(day=days)
        weight = shares[first.month] if shares else Decimal(1)
        inside = (min(last, end_date) - max(first, start_date)).days + 1
        if inside != days:
            weight = weight * inside / days
        weights.append((first, weight))
    return weights


def week_intervals(start_date, end_date):
    """Return the first and the last day of the weeks of the period

    They start on Monday, except the first one which starts with the period.
    """
    intervals = []
    while start_date <= end_date:
        sunday = start_date + dt.timedelta(days=6 - start_date.weekday())
        intervals.append((start_date, min(sunday, end_date)))
        start_date = sunday + dt.timedelta(days=1)
    return intervals


def interval_weights(intervals, shares=None):
    """Return the (first day, weight) pairs of the intervals

    The weight is the sum of those of the months, each for its days inside
    the interval. See month_weights.
    """
    return [
        (start, sum(weight for _, weight in month_weights(start, end, shares)))
        for start, end in intervals]


def spread_months(amount, weights, round_):
    """Return amount spread on the (date, weight) pairs as a dictionary

    Each month gets round_(amount * weight / sum of weights), the last month
    with a weight takes the remainder: the sum is exactly amount. Return
    None if no month has a weight.
    """
    total = sum(weight for _, weight in weights)
    if not total:
        return None
    amounts = {
        date: round_(amount * weight / total) for date, weight in weights}
    last = max(date for date, weight in weights if weight)
    amounts[last] += amount - sum(amounts.values())
    return amounts


def spread_units(amount, weights):
    """Return whole amount spread on the (date, weight) pairs as a dictionary

    It is the one of spread_months unless the remainder moves the last month
    by one or more: then each month gets the difference between what is
    rounded until it and before it, so that none is far from its part.
    """
    def round_(amount):
        return amount.quantize(Decimal(1), ROUND_HALF_EVEN)

    amounts = spread_months(amount, weights, round_)
    if not amounts:
        return amounts
    total = sum(weight for _, weight in weights)
    weights = sorted(weights)
    last, weight = max(pair for pair in weights if pair[1])
    if abs(amounts[last] - amount * weight / total) < 1:
        return amounts
    before = until = Decimal(0)
    for date, weight in weights:
        until += weight
        rounded = round_(amount * until / total)
        amounts[date] = rounded - before
        before = rounded
    return amounts


def search_subject(clause):
    "Return the domain of the records whose subject has the record name"
    operands = clause[1:]
    scopes = [scope for scope, _ in SCOPES if scope != 'company']
    if operands[0].startswith(('!', 'not ')):
        return [
            *(['OR', (scope, '=', None), (f'{scope}.rec_name', *operands)]
                for scope in scopes),
            ['OR',
                ('scope', '!=', 'company'), ('company.rec_name', *operands)]]
    return ['OR',
        *((f'{scope}.rec_name', *operands) for scope in scopes),
        [('scope', '=', 'company'), ('company.rec_name', *operands)]]


class Target(tree(name='rec_name'), ModelSQL, ModelView):
    __name__ = 'prm.target'
    __string__ = "Sales Target"

    _measured_cache = Cache('prm.target.measured', context=False)

    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='RESTRICT')
    plan = fields.Many2One(
        'prm.plan', "Plan", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="The sales action plan that the target belongs to.")
    scope = fields.Selection(
        SCOPES, "Scope", required=True,
        help="Whose result is measured.")
    team = fields.Many2One(
        'prm.team', "Team", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'team',
            'required': Eval('scope') == 'team',
            })
    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'employee',
            'required': Eval('scope') == 'employee',
            })
    partner = fields.Many2One(
        'prm.partner', "Partner", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'partner',
            'required': Eval('scope') == 'partner',
            })
    category = fields.Many2One(
        'product.category', "Category", ondelete='RESTRICT',
        states={
            'invisible': Eval('scope') != 'category',
            'required': Eval('scope') == 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'},
        help="The category of the products, with its children.")
    territory = fields.Many2One(
        'prm.territory', "Territory", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'territory',
            'required': Eval('scope') == 'territory',
            },
        help="The territory of the partners, with its children.")
    measure = fields.Selection(
        BASE_MEASURES, "Measure", required=True, sort=False,
        help="What is counted. The revenue is the posted invoice lines less "
        "the credit notes, by invoice date; the quantity is theirs, in the "
        "default unit of the products; the interactions are the done ones "
        "with customers and partners; the new partners are those that start, "
        "except the prospects; the margin is the revenue less the cost price "
        "of the products that have one; the won deals are the opportunities "
        "won, by end date.")
    measure_string = measure.translated('measure')
    start_date = fields.Date(
        "Start Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('start_date', '<=', Eval('end_date')),
                ()),
            ])
    end_date = fields.Date(
        "End Date", required=True,
        domain=[
            If(Eval('start_date') & Eval('end_date'),
                ('end_date', '>=', Eval('start_date')),
                ()),
            ])
    floor = Monetary(
        "Floor", currency='currency', digits='currency',
        help="The result below which the period is a failure.")
    target = Monetary(
        "Target", currency='currency', digits='currency', required=True,
        domain=[('target', '>=', 0)],
        help="The result to reach over the whole period.")
    stretch = Monetary(
        "Stretch", currency='currency', digits='currency',
        help="The ambitious result, above the target.")
    seasonality = fields.Many2One(
        'prm.seasonality', "Seasonality", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        help="The profile that weighs the months. "
        "All months weigh the same when empty.")
    lines = fields.One2Many(
        'prm.target.line', 'target', "Months", readonly=True,
        help="The amounts of the months; they total exactly the ones of the "
        "target.")
    interval = fields.Selection([
            ('month', "Month"),
            ('week', "Week"),
            ('period', "Fiscal Period"),
            ], "Follow By", required=True, sort=False,
        help="The intervals that the target is also spread over; "
        "the months are always there.")
    slices = fields.One2Many(
        'prm.target.slice', 'target', "Intervals", readonly=True,
        states={
            'invisible': Eval('interval') == 'month',
            },
        help="The amounts of the weeks or of the fiscal periods; they total "
        "exactly the ones of the target.")
    parent = fields.Many2One(
        'prm.target', "Parent", ondelete='SET NULL',
        domain=[
            ('company', '=', Eval('company', -1)),
            ('measure', '=', Eval('measure', '')),
            ],
        help="The target that this one contributes to.")
    children = fields.One2Many(
        'prm.target', 'parent', "Children",
        domain=[
            ('company', '=', Eval('company', -1)),
            ('measure', '=', Eval('measure', '')),
            ],
        help="The targets that contribute to this one.")
    children_target = fields.Function(Monetary(
            "Target of Children", currency='currency', digits='currency',
            help="The sum of the targets of the children."),
        'get_children')
    children_gap = fields.Function(Monetary(
            "Gap of Children", currency='currency', digits='currency',
            help="The sum of the targets of the children less the target.\n"
            "It is only shown, and empty without children."),
        'get_children')
    children_outside = fields.Function(Monetary(
            "Children outside Period", currency='currency', digits='currency',
            help="What the children have in the months out of the period of "
            "the target: it does not contribute to it."),
        'get_children')
    revisions = fields.One2Many(
        'prm.target.revision', 'target', "Revisions",
        help="What the target was before each change.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.update({
                Index(
                    t,
                    (t.company, Index.Equality()),
                    (t.scope, Index.Equality(cardinality='low')),
                    (t.start_date, Index.Range())),
                Index(
                    t, (t.start_date, Index.Range(order='DESC')),
                    (t.id, Index.Range(order='DESC'))),
                Index(t, (t.plan, Index.Equality())),
                })
        cls._order = [
            ('start_date', 'DESC'), ('scope', 'ASC'), ('id', 'DESC')]
        cls._buttons.update({
                'spread': {
                    'icon': 'tryton-refresh',
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_scope(cls):
        return 'company'

    @classmethod
    def default_measure(cls):
        return 'revenue'

    @classmethod
    def default_interval(cls):
        return 'month'

    @fields.depends('scope')
    def on_change_scope(self):
        for name in self._subject_fields():
            if name != self.scope:
                setattr(self, name, None)

    @fields.depends('plan', '_parent_plan.start_date', '_parent_plan.end_date',
        'start_date', 'end_date')
    def on_change_plan(self):
        if self.plan:
            self.start_date = self.start_date or self.plan.start_date
            self.end_date = self.end_date or self.plan.end_date

    @fields.depends('company', 'measure')
    def on_change_with_currency(self, name=None):
        if self.company and self.measure in MONEY_MEASURES:
            return self.company.currency

    @classmethod
    def get_children(cls, targets, names):
        pool = Pool()
        Line = pool.get('prm.target.line')
        table = cls.__table__()
        line = Line.__table__()
        parent = cls.__table__()
        cursor = Transaction().connection.cursor()
        cursor.execute(*table.select(
                table.parent, sql_sum(table.target).as_('target'),
                where=_in(table.parent, [t.id for t in targets]),
                group_by=[table.parent]))
        totals = {
            parent: to_decimal(total) for parent, total in cursor}
        outside = {}
        if 'children_outside' in names:
            cursor.execute(*table
                .join(parent, condition=table.parent == parent.id)
                .join(line, condition=line.target == table.id)
                .select(
                    table.parent, sql_sum(line.amount).as_('amount'),
                    where=_in(table.parent, [t.id for t in targets])
                    & ((line.date < sql_month(parent.start_date))
                        | (line.date > parent.end_date)),
                    group_by=[table.parent]))
            outside.update(
                (parent, to_decimal(amount)) for parent, amount in cursor)
        result = {name: dict.fromkeys(map(int, targets)) for name in names}
        for target in targets:
            if target.id not in totals:
                continue
            total = target._round(totals[target.id])
            if 'children_target' in names:
                result['children_target'][target.id] = total
            if 'children_gap' in names:
                result['children_gap'][target.id] = total - target.target
            if 'children_outside' in names:
                result['children_outside'][target.id] = target._round(
                    outside.get(target.id, Decimal(0)))
        return result

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="children_gap"]', 'visual',
                If(Bool(Eval('children_gap', 0)), 'warning', '')),
            ('/tree/field[@name="children_outside"]', 'visual',
                If(Bool(Eval('children_outside', 0)), 'warning', '')),
            ]

    @classmethod
    def _subject_fields(cls):
        return [scope for scope, _ in SCOPES if scope != 'company']

    @classmethod
    def get_present(cls):
        """Return today, or the end of the last target of the company

        It is the latter when all the targets were over in a year before.
        """
        pool = Pool()
        Date = pool.get('ir.date')
        today = Date.today()
        targets = cls.search([
                ('company', '=', Transaction().context.get('company')),
                ], order=[('end_date', 'DESC')], limit=1)
        if targets and targets[0].end_date.year < today.year:
            return targets[0].end_date
        return today

    @classmethod
    def get_measured(cls):
        "Return the pairs of scope and measure that have a target"
        measured = cls._measured_cache.get(None)
        if measured is None:
            table = cls.__table__()
            cursor = Transaction().connection.cursor()
            cursor.execute(*table.select(
                    table.scope, table.measure,
                    group_by=[table.scope, table.measure]))
            measured = list(map(tuple, cursor))
            cls._measured_cache.set(None, measured)
        return measured

    @property
    def subject(self):
        "The record whose result is measured"
        return getattr(self, self.scope)

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        return ' '.join([
                self.subject.rec_name,
                lang.strftime(self.start_date),
                '–',
                lang.strftime(self.end_date),
                ])

    @classmethod
    def search_rec_name(cls, name, clause):
        if clause[1].startswith(('!', 'not ')):
            return [
                ['OR', ('plan', '=', None), ('plan.rec_name', *clause[1:])],
                search_subject(clause)]
        return ['OR',
            ('plan.rec_name', *clause[1:]), search_subject(clause)]

    @fields.depends(methods=['_notify_overlap'])
    def on_change_notify(self):
        notifications = super().on_change_notify()
        notifications.extend(self._notify_overlap())
        return notifications

    @fields.depends(
        'company', 'scope', 'measure', 'start_date', 'end_date',
        *(scope for scope, _ in SCOPES if scope != 'company'))
    def _notify_overlap(self):
        "Tell that targets of the same scope add up on the common months"
        if not (self.company and self.scope and self.measure
                and self.start_date and self.end_date):
            return
        domain = [
            ('id', '!=', self.id),
            ('company', '=', self.company),
            ('scope', '=', self.scope),
            ('measure', '=', self.measure),
            ('start_date', '<=', self.end_date),
            ('end_date', '>=', self.start_date),
            ]
        if self.scope != 'company':
            if not self.subject:
                return
            domain.append((self.scope, '=', self.subject))
        for other in self.__class__.search(domain, limit=1):
            yield ('warning', gettext(
                    'prm.msg_target_overlap', target=other.rec_name))

    @classmethod
    def validate_fields(cls, targets, field_names):
        super().validate_fields(targets, field_names)
        cls.check_measure(targets, field_names)
        cls.check_levels(targets, field_names)

    @classmethod
    def check_measure(cls, targets, field_names=None):
        "Refuse a measure that is not counted for the scope"
        if field_names is not None and not (
                field_names & {'scope', 'measure'}):
            return
        for target in targets:
            if target.scope not in MEASURE_SCOPES[target.measure]:
                raise TargetValidationError(gettext(
                        'prm.msg_target_measure_scope',
                        target=target.rec_name,
                        measure=target.measure_string))

    @classmethod
    def check_levels(cls, targets, field_names=None):
        "Refuse a floor above the target or a stretch below it"
        if field_names is not None and not (
                field_names & {'floor', 'target', 'stretch'}):
            return
        for target in targets:
            if ((target.floor is not None
                        and not 0 <= target.floor <= target.target)
                    or (target.stretch is not None
                        and target.stretch < target.target)):
                raise TargetValidationError(gettext(
                        'prm.msg_target_levels', target=target.rec_name))

    @classmethod
    def check_modification(cls, mode, targets, values=None, external=False):
        super().check_modification(
            mode, targets, values=values, external=external)
        for plan in get_parents('plan', targets, values):
            if plan and plan.state == 'closed':
                raise PlanAccessError(gettext(
                        'prm.msg_target_plan_closed', plan=plan.rec_name))

    @classmethod
    def preprocess_values(cls, mode, values):
        values = super().preprocess_values(mode, values)
        if mode == 'create' or 'scope' in values:
            scope = values.get('scope') or cls.default_scope()
            for name in cls._subject_fields():
                if name != scope:
                    values[name] = None
        return values

    @classmethod
    def on_modification(cls, mode, targets, field_names=None):
        super().on_modification(mode, targets, field_names=field_names)
        cls._measured_cache.clear()
        if mode == 'create' or (
                mode == 'write'
                and field_names & {*_SPREAD, 'interval', 'company',
                    'measure'}):
            cls._spread(targets)

    @classmethod
    def write(cls, *args):
        pool = Pool()
        Revision = pool.get('prm.target.revision')
        before = {}
        for targets, values in zip(args[::2], args[1::2]):
            if values.keys() & set(_REVISED):
                for target in targets:
                    before.setdefault(
                        target.id, Revision.get_values(target))
        super().write(*args)
        revised = [
            before[target.id] for target in cls.browse(list(before))
            if Revision.get_values(target) != before[target.id]]
        if revised:
            # Nobody may write what the target was
            with without_check_access():
                Revision.create(revised)

    @classmethod
    @ModelView.button
    def spread(cls, targets):
        "Compute again the months, after a change of the seasonality"
        cls.check_modification('write', targets, {})
        cls._spread(targets)

    @classmethod
    def renew(cls, targets, growth, plan=None):
        """Return the copies of the targets for the year after

        The amounts are multiplied by 1 + growth and rounded. The children
        that total their target still do: the last one takes the remainder.
        """
        def next_year(date):
            if (date + dt.timedelta(days=1)).day == 1:
                return date + relativedelta(years=1, day=31)
            return date + relativedelta(years=1)

        def copy(name):
            def compute(data):
                if name in {'start_date', 'end_date'}:
                    return next_year(getattr(by_id[data['id']], name))
                return amounts[data['id']][name]
            return compute

        by_id = {t.id: t for t in targets}
        amounts = cls._get_renewed_amounts(targets, growth)
        new_targets = cls.copy(targets, default={
                'plan': plan.id if plan else None,
                'parent': None,
                **{name: copy(name) for name in [
                        'start_date', 'end_date', 'floor', 'target',
                        'stretch']},
                })
        new_ids = {t.id: n.id for t, n in zip(targets, new_targets)}
        by_parent = defaultdict(list)
        for target, new_target in zip(targets, new_targets):
            if target.parent and target.parent.id in new_ids:
                by_parent[new_ids[target.parent.id]].append(new_target)
        if by_parent:
            cls.write(*sum((
                        [children, {'parent': parent}]
                        for parent, children in by_parent.items()), []))
        return new_targets

    @classmethod
    def _get_renewed_amounts(cls, targets, growth):
        "Return the floor, the target and the stretch by identifier"
        amounts = {
            target.id: {
                name: (target._round(value * (1 + growth))
                    if (value := getattr(target, name)) is not None else None)
                for name in ['floor', 'target', 'stretch']}
            for target in targets}
        by_parent = defaultdict(list)
        for child in cls.search([
                    ('parent', 'in', [t.id for t in targets]),
                    ],
                order=[('id', 'ASC')]):
            by_parent[child.parent.id].append(child)
        parents = [
            t for t in targets if not (t.parent and t.parent.id in amounts)]
        while parents:
            parent = parents.pop()
            children = by_parent[parent.id]
            parents += [c for c in children if c.id in amounts]
            if (any(c.id not in amounts for c in children)
                    or sum(c.target for c in children) != parent.target):
                continue
            remainder = amounts[parent.id]['target'] - sum(
                amounts[c.id]['target'] for c in children)
            for child in reversed(children):
                values = amounts[child.id]
                if values['target'] and values['target'] + remainder >= 0:
                    cls._add_remainder(values, remainder)
                    break
        return amounts

    @classmethod
    def _add_remainder(cls, values, remainder):
        values['target'] += remainder
        for name, limit in [('floor', min), ('stretch', max)]:
            if values[name] is not None:
                values[name] = limit(values[name], values['target'])

    @classmethod
    def copy(cls, targets, default=None):
        default = default.copy() if default is not None else {}
        for name in ['lines', 'slices', 'children', 'revisions']:
            default.setdefault(name, None)
        return super().copy(targets, default=default)

    @classmethod
    @without_check_access
    def _spread(cls, targets):
        pool = Pool()
        Line = pool.get('prm.target.line')
        Slice = pool.get('prm.target.slice')
        Line.delete([line for target in targets for line in target.lines])
        Line.save([
                line for target in targets for line in target.get_lines()])
        if slices := [s for target in targets for s in target.slices]:
            Slice.delete(slices)
        followed = [t for t in targets if t.interval != 'month']
        if followed:
            periods = cls._get_periods(followed)
            Slice.save([
                    slice_ for target in followed
                    for slice_ in target.get_slices(periods)])

    @classmethod
    def _get_periods(cls, targets):
        "Return the fiscal periods that the targets need by company"
        pool = Pool()
        Period = pool.get('account.period')
        targets = [t for t in targets if t.interval == 'period']
        periods = defaultdict(list)
        if targets:
            for period in Period.search([
                        ('company', 'in',
                            list({t.company.id for t in targets})),
                        ('type', '=', 'standard'),
                        ('end_date', '>=', min(t.start_date for t in targets)),
                        ('start_date', '<=', max(t.end_date for t in targets)),
                        ],
                    order=[('start_date', 'ASC')]):
                periods[period.company].append(period)
        return periods

    def _get_intervals(self, periods):
        "Return the first and the last day of the intervals of the target"
        if self.interval == 'week':
            return week_intervals(self.start_date, self.end_date)
        intervals = [
            (max(period.start_date, self.start_date),
                min(period.end_date, self.end_date))
            for period in periods[self.company]
            if period.end_date >= self.start_date
            and period.start_date <= self.end_date]
        day = self.start_date
        for start, end in intervals:
            if start == day:
                day = end + dt.timedelta(days=1)
        if day <= self.end_date:
            raise TargetValidationError(gettext(
                    'prm.msg_target_no_period',
                    target=self.rec_name,
                    date=Pool().get('ir.lang').get().strftime(day)))
        return intervals

    def get_slices(self, periods):
        """Return the unsaved slices of the intervals

        The periods are lists by company. The amounts are spread like those
        of the months, see get_lines.
        """
        pool = Pool()
        Slice = pool.get('prm.target.slice')
        intervals = self._get_intervals(periods)
        weights = interval_weights(
            intervals, self.seasonality.shares if self.seasonality else None)
        amounts = self._spread_amount(self.target, weights)
        return [
            Slice(
                target=self, start_date=start, end_date=end,
                amount=amounts[start])
            for start, end in intervals]

    def get_lines(self):
        """Return the unsaved lines of the months

        The floor, the target and the stretch are each spread by the shares
        of the months of the period, normalised over the period, and rounded
        in the currency of the company, to two decimals for a quantity and to
        units for what is counted. See spread_months and spread_units.
        """
        pool = Pool()
        Line = pool.get('prm.target.line')
        weights = month_weights(
            self.start_date, self.end_date,
            self.seasonality.shares if self.seasonality else None)
        if not any(weight for _, weight in weights):
            raise TargetValidationError(gettext(
                    'prm.msg_target_no_share',
                    target=self.rec_name,
                    seasonality=self.seasonality.rec_name))
        spreads = {
            name: self._spread_amount(amount, weights)
            for name in ['floor', 'target', 'stretch']
            if (amount := getattr(self, name)) is not None}
        return [
            Line(
                target=self,
                date=date,
                amount=spreads['target'][date],
                floor=spreads.get('floor', {}).get(date),
                stretch=spreads.get('stretch', {}).get(date))
            for date, _ in weights]

    def _spread_amount(self, amount, weights):
        if self.measure in COUNT_MEASURES:
            return spread_units(amount, weights)
        return spread_months(amount, weights, self._round)

    def _round(self, amount):
        if self.currency:
            return self.currency.round(amount)
        exp = '0.01' if self.measure == 'quantity' else '1'
        return amount.quantize(Decimal(exp), ROUND_HALF_EVEN)


class TargetLine(MonthMixin, ReadonlyMixin, ModelSQL, ModelView):
    __name__ = 'prm.target.line'
    __string__ = "Sales Target Month"

    target = fields.Many2One(
        'prm.target', "Target", required=True, ondelete='CASCADE')
    date = fields.Date(
        "Month", required=True, help="The first day of the month.")
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True)
    floor = Monetary("Floor", currency='currency', digits='currency')
    stretch = Monetary("Stretch", currency='currency', digits='currency')
    children_amount = fields.Function(Monetary(
            "Amount of Children", currency='currency', digits='currency',
            help="The sum of the amounts of the children for the month."),
        'get_children')
    children_gap = fields.Function(Monetary(
            "Gap of Children", currency='currency', digits='currency',
            help="The sum of the amounts of the children for the month less "
            "the amount.\n"
            "It is only shown, and empty without children."),
        'get_children')
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('target')
        cls._sql_constraints.append(
            ('date_unique', Unique(t, t.target, t.date),
                'prm.msg_target_line_date_unique'))
        cls._sql_indexes.add(Index(t, (t.date, Index.Range())))
        cls._order = [('target', 'DESC'), ('date', 'ASC'), ('id', 'ASC')]

    @fields.depends('target', '_parent_target.currency')
    def on_change_with_currency(self, name=None):
        return self.target.currency if self.target else None

    @classmethod
    def get_children(cls, lines, names):
        pool = Pool()
        Target = pool.get('prm.target')
        line, child = cls.__table__(), cls.__table__()
        target = Target.__table__()
        cursor = Transaction().connection.cursor()
        cursor.execute(*line
            .join(target, condition=target.parent == line.target)
            .join(child, 'LEFT',
                condition=(child.target == target.id)
                & (child.date == line.date))
            .select(
                line.id, sql_sum(Coalesce(child.amount, 0)).as_('amount'),
                where=_in(line.id, [l.id for l in lines]),
                group_by=[line.id]))
        totals = {id_: to_decimal(amount) for id_, amount in cursor}
        result = {name: dict.fromkeys(map(int, lines)) for name in names}
        for line in lines:
            if line.id not in totals:
                continue
            total = line.target._round(totals[line.id])
            if 'children_amount' in names:
                result['children_amount'][line.id] = total
            if 'children_gap' in names:
                result['children_gap'][line.id] = total - line.amount
        return result

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return f"{self.target.rec_name} {Lang.get().strftime(self.date)}"

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="children_gap"]', 'visual',
                If(Bool(Eval('children_gap', 0)), 'warning', '')),
            ]


class TargetSlice(ReadonlyMixin, ModelSQL, ModelView):
    __name__ = 'prm.target.slice'
    __string__ = "Sales Target Interval"

    target = fields.Many2One(
        'prm.target', "Target", required=True, ondelete='CASCADE')
    start_date = fields.Date("Start Date", required=True)
    end_date = fields.Date("End Date", required=True)
    amount = Monetary(
        "Amount", currency='currency', digits='currency', required=True)
    actual = fields.Function(Monetary(
            "Actual", currency='currency', digits='currency'),
        'get_actual')
    gap = fields.Function(Monetary(
            "Gap", currency='currency', digits='currency',
            help="The actual less the amount."),
        'get_actual')
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('target')
        cls._sql_constraints.append(
            ('date_unique', Unique(t, t.target, t.start_date),
                'prm.msg_target_slice_date_unique'))
        cls._order = [
            ('target', 'DESC'), ('start_date', 'ASC'), ('id', 'ASC')]

    @fields.depends('target', '_parent_target.currency')
    def on_change_with_currency(self, name=None):
        return self.target.currency if self.target else None

    @classmethod
    def get_actual(cls, slices, names):
        pool = Pool()
        Performance = pool.get('prm.performance')
        by_kind = defaultdict(list)
        for slice_ in slices:
            target = slice_.target
            by_kind[target.measure, target.scope].append(slice_)
        result = {name: {} for name in names}
        for (measure, scope), group in by_kind.items():
            amounts = Performance.day_amounts(
                measure, scope, {s.target.subject for s in group},
                min(s.start_date for s in group),
                max(s.end_date for s in group))
            for slice_ in group:
                target = slice_.target
                actual = target._round(sum((
                            amount for date, amount in amounts[
                                target.company.id, target.subject.id]
                            if slice_.start_date <= date <= slice_.end_date),
                        Decimal(0)))
                if 'actual' in names:
                    result['actual'][slice_.id] = actual
                if 'gap' in names:
                    result['gap'][slice_.id] = actual - slice_.amount
        return result

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return f"{self.target.rec_name} {Lang.get().strftime(self.start_date)}"

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="gap"]', 'visual',
                If(Eval('gap', 0) < 0, 'warning', 'success')),
            ]


class TargetRevision(WorkflowAccessMixin, ModelSQL, ModelView):
    __name__ = 'prm.target.revision'
    __string__ = "Sales Target Revision"

    target = fields.Many2One(
        'prm.target', "Target", required=True, readonly=True,
        ondelete='CASCADE')
    date = fields.Date(
        "Date", required=True, readonly=True,
        help="When the target was changed.")
    employee = fields.Many2One(
        'company.employee', "Employee", readonly=True, ondelete='RESTRICT',
        help="Who changed the target.")
    subject = fields.Reference(
        "Subject", [
            ('company.company', "Company"),
            ('prm.team', "Team"),
            ('company.employee', "Employee"),
            ('prm.partner', "Partner"),
            ('product.category', "Product Category"),
            ('prm.territory', "Territory"),
            ], readonly=True,
        help="Whose result was measured.")
    measure = fields.Selection(
        [(None, "")] + BASE_MEASURES, "Measure", readonly=True, sort=False)
    start_date = fields.Date("Start Date", readonly=True)
    end_date = fields.Date("End Date", readonly=True)
    floor = Monetary(
        "Floor", currency='currency', digits='currency', readonly=True)
    amount = Monetary(
        "Target", currency='currency', digits='currency', readonly=True,
        help="The target before the change.")
    stretch = Monetary(
        "Stretch", currency='currency', digits='currency', readonly=True)
    seasonality = fields.Many2One(
        'prm.seasonality', "Seasonality", readonly=True, ondelete='RESTRICT')
    why = fields.Char("Why", help="Why the target was changed.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('target')
        cls._order = [('target', 'DESC'), ('id', 'DESC')]

    @fields.depends('target', '_parent_target.currency')
    def on_change_with_currency(self, name=None):
        return self.target.currency if self.target else None

    @classmethod
    def _workflow_fields(cls):
        return {'target', 'date', 'employee', 'subject', 'measure',
            'start_date', 'end_date', 'floor', 'amount', 'stretch',
            'seasonality'}

    @classmethod
    def get_values(cls, target):
        "Return the values of the revision that keeps the present target"
        pool = Pool()
        Date = pool.get('ir.date')
        return {
            'target': target.id,
            'date': Date.today(),
            'employee': Transaction().context.get('employee'),
            'subject': str(target.subject),
            'measure': target.measure,
            **{
                'amount' if name == 'target' else name: getattr(
                    getattr(target, name), 'id', getattr(target, name))
                for name in _SPREAD},
            }

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return f"{self.target.rec_name} @ {Lang.get().strftime(self.date)}"


class TargetRenew(Wizard):
    __name__ = 'prm.target.renew'

    start = StateView(
        'prm.target.renew.start', 'prm.target_renew_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Create", 'create_', 'tryton-ok', default=True),
            ])
    create_ = StateAction('prm.act_target_form')

    def do_create_(self, action):
        pool = Pool()
        Target = pool.get('prm.target')
        targets = Target.renew(
            self.records, self.start.growth, plan=self.start.plan)
        action['pyson_domain'] = PYSONEncoder().encode(
            [('id', 'in', [t.id for t in targets])])
        action['domains'] = []
        return action, {}


class TargetRenewStart(ModelView):
    __name__ = 'prm.target.renew.start'
    __string__ = "Renew Targets"

    growth = fields.Numeric(
        "Growth", digits=(16, 4), required=True,
        domain=[('growth', '>=', -1)],
        help="By how much the amounts of the next year are higher.")
    plan = fields.Many2One(
        'prm.plan', "Plan",
        domain=[
            ('state', '!=', 'closed'),
            ('company', '=', Eval('context', {}).get('company', -1)),
            ],
        help="The plan of the new targets.")

    @classmethod
    def default_growth(cls):
        return Decimal(0)
