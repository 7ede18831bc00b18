# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict
from decimal import Decimal

from dateutil.relativedelta import relativedelta
from sql.aggregate import Count
from sql.conditionals import Case

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, ModelSQL, ModelView, Unique, fields, sequence_ordered)
from trytond.pool import Pool
from trytond.pyson import Eval, PYSONDecoder
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from ..tools import sql_local_date
from .exceptions import CriterionError

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts
_DAY = relativedelta(days=1)


class Program(
        DeactivableMixin, sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.program'
    __string__ = "Program"

    company = fields.Many2One('company.company', "Company", required=True)
    name = fields.Char("Name", required=True, translate=True)
    term_months = fields.Integer(
        "Term",
        domain=['OR',
            ('term_months', '=', None),
            ('term_months', '>', 0),
            ],
        help="After how many months an enrolment expires.\n"
        "Leave empty for enrolments without end.")
    review_months = fields.Integer(
        "Review Every", required=True,
        domain=[
            ('review_months', '>', 0),
            ],
        help="The number of months between the reviews of the tier of an "
        "enrolment.")
    grace_days = fields.Integer(
        "Grace Period", required=True,
        domain=[
            ('grace_days', '>=', 0),
            ],
        help="How many days a partner who no longer fulfils the criteria "
        "keeps its tier.")
    description = fields.Text("Description", translate=True)
    tiers = fields.One2Many(
        'prm.program.tier', 'program', "Tiers",
        help="From the lowest to the highest.")

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_review_months(cls):
        return 12

    @classmethod
    def default_grace_days(cls):
        return 90


class ProgramTier(sequence_ordered(), ModelSQL, ModelView):
    __name__ = 'prm.program.tier'
    __string__ = "Program Tier"

    program = fields.Many2One(
        'prm.program', "Program", required=True, ondelete='CASCADE')
    company = fields.Function(
        fields.Many2One('company.company', "Company"),
        'on_change_with_company', searcher='search_company')
    name = fields.Char("Name", required=True, translate=True)
    description = fields.Text(
        "Description", translate=True,
        help="What the tier offers to its partners.")
    criteria = fields.One2Many(
        'prm.program.tier.criterion', 'tier', "Criteria",
        help="What a partner must fulfil to be eligible for the tier.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('program')
        cls._order.insert(0, ('program', 'ASC'))

    @fields.depends('program', '_parent_program.company')
    def on_change_with_company(self, name=None):
        return self.program.company if self.program else None

    @classmethod
    def search_company(cls, name, clause):
        return [('program.' + clause[0], *clause[1:])]

    @classmethod
    @without_check_access
    def evaluate(cls, keys, date):
        """Return what the partners reach in the programs at the date

        keys are pairs of a partner and a program. The result gives for each
        the eligible tier, the highest one of which all the criteria are
        fulfilled or None, and the pairs of each criterion of the program
        and the value that the partner has.
        """
        pool = Pool()
        Criterion = pool.get('prm.program.tier.criterion')
        tiers = defaultdict(list)
        programs = list({program.id for _, program in keys})
        for tier in cls.search([('program', 'in', programs)]):
            tiers[tier.program.id].append(tier)
        for sub_tiers in tiers.values():
            sub_tiers.sort(key=cls._rank)
        criteria = [
            c for ts in tiers.values() for t in ts for c in t.criteria]
        partners = list({partner for partner, _ in keys})
        values = Criterion.values_of(criteria, partners, date)
        result = {}
        for partner, program in keys:
            eligible, reached = None, []
            for tier in tiers[program.id]:
                fulfilled = True
                for criterion in tier.criteria:
                    value = values[criterion.id][partner.id]
                    reached.append((criterion, value))
                    if not criterion.is_fulfilled(value):
                        fulfilled = False
                if fulfilled:
                    eligible = tier
            result[partner, program] = (eligible, reached)
        return result

    def _rank(self):
        "The position of the tier among those of its program"
        return (
            self.sequence is not None, self.sequence or 0, self.id)


class ProgramTierCriterion(ModelSQL, ModelView):
    __name__ = 'prm.program.tier.criterion'
    __string__ = "Criterion of Program Tier"

    tier = fields.Many2One(
        'prm.program.tier', "Tier", required=True, ondelete='CASCADE')
    metric = fields.Selection([
            ('revenue', "Revenue"),
            ('registrations', "Deal Registrations"),
            ('interactions', "Interactions"),
            ('tenure', "Tenure"),
            ('custom', "Custom"),
            ], "Metric", required=True, sort=False,
        help="What is measured.\n"
        "The revenue is in the currency of the company, untaxed, the "
        "tenure in months.")
    metric_string = metric.translated('metric')
    threshold = fields.Numeric(
        "Threshold",
        states={
            'required': Eval('metric') != 'custom',
            'invisible': Eval('metric') == 'custom',
            },
        help="The least that the partner must reach.")
    window_months = fields.Integer(
        "Window",
        domain=['OR',
            ('window_months', '=', None),
            ('window_months', '>', 0),
            ],
        states={
            'required': Eval('metric') != 'tenure',
            'invisible': Eval('metric') == 'tenure',
            },
        help="Over how many months until today it is measured.")
    expression = fields.Char(
        "Expression",
        states={
            'required': Eval('metric') == 'custom',
            'invisible': Eval('metric') != 'custom',
            },
        help="A PYSON statement that is true when the criterion is "
        "fulfilled.\n"
        "It knows each of the other metrics by its name, "
        "like Eval('revenue', 0) and Eval('tenure', 0).")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('tier')
        t = cls.__table__()
        cls._sql_constraints += [
            ('metric_unique', Unique(
                    t, t.tier, t.metric, t.window_months, t.expression),
                'prm.msg_criterion_unique'),
            ]

    @classmethod
    def default_window_months(cls):
        return 12

    def get_rec_name(self, name):
        if self.metric == 'tenure':
            return self.metric_string
        return gettext(
            'prm.msg_criterion_rec_name',
            metric=self.metric_string,
            months=self.window_months)

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('tier.rec_name', *clause[1:])]

    @classmethod
    def validate_fields(cls, criteria, field_names):
        super().validate_fields(criteria, field_names)
        if {'metric', 'expression'} & field_names:
            for criterion in criteria:
                if criterion.metric == 'custom':
                    try:
                        criterion._decode(dict.fromkeys(
                                cls._metrics(), Decimal(0)))
                    except Exception as exception:
                        raise CriterionError(gettext(
                                'prm.msg_criterion_expression',
                                expression=criterion.expression,
                                tier=criterion.tier.rec_name),
                            str(exception)) from exception

    def _decode(self, values):
        return bool(PYSONDecoder(values).decode(self.expression))

    @classmethod
    def _metrics(cls):
        "Return the names of the metrics that are measured"
        return [m for m, _ in cls.metric.selection if m != 'custom']

    def is_fulfilled(self, value):
        "Test if the value is enough for the criterion"
        return value if self.metric == 'custom' else value >= self.threshold

    def explain(self, value):
        "Return the text of the value that was reached"
        pool = Pool()
        Lang = pool.get('ir.lang')
        lang = Lang.get()
        if self.metric == 'custom':
            return gettext(
                'prm.msg_criterion_fulfilled' if value
                else 'prm.msg_criterion_missed',
                criterion=self.rec_name)

        def format_(number):
            digits = 2 if number != int(number) else 0
            return lang.format_number(number, digits)
        return gettext(
            'prm.msg_criterion_value',
            criterion=self.rec_name,
            value=format_(value),
            threshold=format_(self.threshold))

    @classmethod
    def values_of(cls, criteria, partners, date):
        """Return the value of each partner for each criterion at the date

        The result is by the id of the criterion and the id of the partner.
        The windows end with the date. Each metric takes one statement.
        """
        windows = defaultdict(set)
        for criterion in criteria:
            if criterion.metric == 'custom':
                for metric in cls._metrics():
                    windows[metric].add(criterion.window_months)
            else:
                windows[criterion.metric].add(criterion._window)
        measured = {}
        for metric, months in windows.items():
            months = list(months)
            values = getattr(cls, f'_measure_{metric}')(
                partners,
                [date - relativedelta(months=m or 0) + _DAY for m in months],
                date)
            for i, month in enumerate(months):
                measured[metric, month] = {
                    p.id: values[p.id][i] for p in partners}
        result = {}
        for criterion in criteria:
            if criterion.metric == 'custom':
                months = criterion.window_months
                result[criterion.id] = {
                    p.id: criterion._decode({
                            m: measured[m, months][p.id]
                            for m in cls._metrics()})
                    for p in partners}
            else:
                result[criterion.id] = measured[
                    criterion.metric, criterion._window]
        return result

    @property
    def _window(self):
        return None if self.metric == 'tenure' else self.window_months

    @classmethod
    def _measure_revenue(cls, partners, starts, date):
        pool = Pool()
        Partner = pool.get('prm.partner')
        return Partner.revenue_of(partners, [(s, date) for s in starts])

    @classmethod
    def _measure_registrations(cls, partners, starts, date):
        "The deal registrations that were approved, where the company is"
        pool = Pool()
        Registration = pool.get('prm.registration')
        registration = Registration.__table__()
        return cls._count(
            partners, starts, date, registration, registration.approved_at)

    @classmethod
    def _measure_interactions(cls, partners, starts, date):
        "The interactions that were done, by the date where the company is"
        pool = Pool()
        Interaction = pool.get('prm.interaction')
        interaction = Interaction.__table__()
        return cls._count(
            partners, starts, date, interaction, interaction.date,
            interaction.state == 'done')

    @classmethod
    def _count(cls, partners, starts, date, table, timestamp, where=None):
        "Count the rows of each partner from each start to the date"
        pool = Pool()
        Company = pool.get('company.company')
        cursor = Transaction().connection.cursor()
        company = Company.__table__()
        day = sql_local_date(timestamp, company.timezone)
        values = {p.id: [0] * len(starts) for p in partners}
        since = timestamp >= min(starts) - _DAY
        where = since if where is None else where & since
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*table
                .join(company, condition=table.company == company.id)
                .select(
                    table.partner,
                    *(Count(Case((
                                    (day >= start) & (day <= date),
                                    table.id)))
                        for start in starts),
                    where=_in(table.partner, list(map(int, sub_partners)))
                    & where,
                    group_by=table.partner))
            for partner, *counts in cursor:
                values[partner] = counts
        return values

    @classmethod
    def _measure_tenure(cls, partners, starts, date):
        "The full months since the start of the relationship"
        values = {}
        for partner in partners:
            delta = relativedelta(date, partner.start_date)
            values[partner.id] = [
                max(delta.years * 12 + delta.months, 0)] * len(starts)
        return values
