# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from collections import defaultdict
from decimal import Decimal

from dateutil.relativedelta import relativedelta

from trytond.i18n import gettext
from trytond.model import Index, ModelSQL, ModelView, Unique, fields
from trytond.modules.currency.fields import Monetary
from trytond.pool import Pool
from trytond.pyson import Eval, If
from trytond.transaction import Transaction

from .target import month_weights

_COMPONENTS = [
    'vacancy_cost', 'ramp_up_cost', 'lost_partners_cost', 'gestures_cost',
    'recruitment_cost']
_SOURCES = [
    'monthly_target_source', 'vacancy_source', 'ramp_up_source',
    'lost_partners_source', 'gestures_source', 'recruitment_source',
    'manager_source']


def ramp_up_rates(months):
    """Return the rate of each month of an even ramp up

    It starts at nothing and ends at the whole: the rate of a month is the
    one of its middle, (i - 1/2) / months for the month i, to 4 digits.
    """
    return [
        round((Decimal(2 * i - 1)) / (2 * months), 4)
        for i in range(1, months + 1)]


class Vacancy(ModelSQL, ModelView):
    __name__ = 'prm.vacancy'
    __string__ = "Vacancy"

    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='RESTRICT')
    employee = fields.Many2One(
        'company.employee', "Employee", required=True, ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))],
        context={
            'active_test': False,
            },
        help="The employee who left.")
    left_date = fields.Date(
        "Left On", required=True,
        help="The last day of the employee.")
    handover_date = fields.Date(
        "Handover From",
        domain=[
            If(Eval('handover_date') & Eval('left_date'),
                ('handover_date', '<=', Eval('left_date')),
                ()),
            ],
        help="The partners that the employee managed from this day on count, "
        "even if they were handed over before the last day.\n"
        "The last day when empty.")
    replaced_date = fields.Date(
        "Replaced On",
        domain=[
            If(Eval('replaced_date') & Eval('left_date'),
                ('replaced_date', '>', Eval('left_date')),
                ()),
            ],
        help="The first day of the replacement; "
        "the position is vacant as long as it is empty.")
    replacement = fields.Many2One(
        'company.employee', "Replacement", ondelete='RESTRICT',
        domain=[('company', '=', Eval('company', -1))])
    ramp_up_months = fields.Integer(
        "Ramp Up Months", required=True,
        domain=[('ramp_up_months', '>=', 0)],
        help="The months that the replacement needs to sell as much as the "
        "employee who left.")
    ramp_up = fields.One2Many(
        'prm.vacancy.ramp_up', 'vacancy', "Ramp Up",
        help="What the replacement sells each month compared to the monthly "
        "target.\n"
        "When it is computed without any, it rises evenly.")
    monthly_target = Monetary(
        "Monthly Target", currency='currency', digits='currency',
        help="The revenue that the position brings in a month.\n"
        "When it is computed, it is the mean of the months with a target "
        "among the 12 before the leave or, without target, of the revenue "
        "since the first of them with revenue.")
    margin_rate = fields.Numeric(
        "Margin Rate", digits=(1, 4), required=True,
        domain=[('margin_rate', '>=', 0), ('margin_rate', '<=', 1)],
        help="The part of the revenue that is lost when it is not made.")
    vacancy_cost = Monetary(
        "Cost of the Vacancy", currency='currency', digits='currency',
        help="The margin of the monthly target for the days without anybody.")
    ramp_up_cost = Monetary(
        "Cost of the Ramp Up", currency='currency', digits='currency',
        help="The margin of what each month of the ramp up lacks to reach the "
        "monthly target.")
    lost_partners_cost = Monetary(
        "Lost Partners", currency='currency', digits='currency',
        help="The margin of one year of the partners that the employee "
        "managed and that ended from the handover to 12 months after the "
        "leave.")
    gestures_cost = Monetary(
        "Commercial Gestures", currency='currency', digits='currency',
        help="The gestures granted to the partners that the employee "
        "managed, from the handover to the end of the ramp up.")
    recruitment_cost = Monetary(
        "Recruitment", currency='currency', digits='currency',
        domain=['OR',
            ('recruitment_cost', '=', None), ('recruitment_cost', '>=', 0)])
    manager_hours = fields.Numeric(
        "Manager Hours", digits=(16, 2),
        domain=['OR',
            ('manager_hours', '=', None), ('manager_hours', '>=', 0)],
        help="The time of the manager for the recruitment, the training and "
        "the handover.")
    manager_hourly_cost = Monetary(
        "Manager Hourly Cost", currency='currency', digits='currency',
        domain=['OR',
            ('manager_hourly_cost', '=', None),
            ('manager_hourly_cost', '>=', 0)])
    manager_cost = fields.Function(Monetary(
            "Manager Time", currency='currency', digits='currency'),
        'on_change_with_manager_cost')
    total_cost = fields.Function(Monetary(
            "Total Cost", currency='currency', digits='currency',
            help="The sum of the components."),
        'on_change_with_total_cost')
    monthly_target_source = fields.Char("Source of Monthly Target")
    vacancy_source = fields.Char("Source of Vacancy")
    ramp_up_source = fields.Char("Source of Ramp Up")
    lost_partners_source = fields.Char("Source of Lost Partners")
    gestures_source = fields.Char("Source of Gestures")
    recruitment_source = fields.Char(
        "Source of Recruitment",
        help="For example the invoices of the agency.")
    manager_source = fields.Char(
        "Source of Manager Time", help="For example the time sheets.")
    notes = fields.Text(
        "Notes", help="Where the typed amounts come from.")
    currency = fields.Function(
        fields.Many2One('currency.currency', "Currency"),
        'on_change_with_currency')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.add(
            Index(
                t,
                (t.left_date, Index.Range(order='DESC')),
                (t.id, Index.Range(order='DESC'))))
        cls._order = [('left_date', 'DESC'), ('id', 'DESC')]
        cls._buttons.update({
                'compute': {
                    'icon': 'tryton-refresh',
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_ramp_up_months(cls):
        return 3

    @classmethod
    def default_margin_rate(cls):
        return Decimal(1)

    @fields.depends('company')
    def on_change_with_currency(self, name=None):
        return self.company.currency if self.company else None

    @fields.depends('employee', 'left_date')
    def on_change_employee(self):
        if self.employee and not self.left_date:
            self.left_date = self.employee.end_date

    @fields.depends('currency', 'manager_hours', 'manager_hourly_cost')
    def on_change_with_manager_cost(self, name=None):
        if (self.currency and self.manager_hours is not None
                and self.manager_hourly_cost is not None):
            return self.currency.round(
                self.manager_hours * self.manager_hourly_cost)

    @fields.depends(*_COMPONENTS, methods=['on_change_with_manager_cost'])
    def on_change_with_total_cost(self, name=None):
        amounts = [getattr(self, name) for name in _COMPONENTS]
        amounts.append(self.on_change_with_manager_cost())
        return sum(filter(None, amounts), Decimal(0))

    def get_rec_name(self, name):
        pool = Pool()
        Lang = pool.get('ir.lang')
        return (f"{self.employee.rec_name} "
            f"{Lang.get().strftime(self.left_date)}")

    @classmethod
    def search_rec_name(cls, name, clause):
        return [('employee.rec_name', *clause[1:])]

    @property
    def _first_day(self):
        "From when the partners may be lost"
        return self.handover_date or self.left_date

    @property
    def _last_vacant_day(self):
        pool = Pool()
        Date = pool.get('ir.date')
        if self.replaced_date:
            return self.replaced_date - dt.timedelta(days=1)
        with Transaction().set_context(company=self.company.id):
            return Date.today()

    @property
    def _last_ramp_up_day(self):
        if not self.replaced_date:
            return self._last_vacant_day
        return (self.replaced_date
            + relativedelta(months=self.ramp_up_months, days=-1))

    @property
    def _past_months(self):
        "The first and the last day of the 12 months before the leave"
        end = self.left_date.replace(day=1) - dt.timedelta(days=1)
        return end.replace(day=1) - relativedelta(months=11), end

    @classmethod
    def copy(cls, vacancies, default=None):
        default = default.copy() if default is not None else {}
        for name in [
                'monthly_target', *_COMPONENTS, *_SOURCES, 'ramp_up']:
            default.setdefault(name, None)
        return super().copy(vacancies, default=default)

    @classmethod
    @ModelView.button
    def compute(cls, vacancies):
        """Set the components that come from the targets, the partners, the
        invoices and the gestures

        A typed monthly target is kept, and so are the hours of the manager
        without time sheets.
        """
        if not vacancies:
            return
        pool = Pool()
        Lang = pool.get('ir.lang')
        RampUp = pool.get('prm.vacancy.ramp_up')
        lang = Lang.get()
        targets = cls._get_monthly_targets(
            [v for v in vacancies if v.monthly_target is None])
        partners = cls._get_partners(vacancies)
        revenues = cls._get_revenues(vacancies, partners)
        gestures = cls._get_gestures(vacancies, partners)
        hours = cls._get_manager_hours(vacancies)
        for vacancy in vacancies:
            round_ = vacancy.currency.round
            if vacancy.monthly_target is None:
                amount, message, months = targets[vacancy]
                vacancy.monthly_target = round_(amount)
                vacancy.monthly_target_source = gettext(
                    message, months=months)
            margin = vacancy.monthly_target * vacancy.margin_rate
            first = vacancy.left_date + dt.timedelta(days=1)
            last = vacancy._last_vacant_day
            months = Decimal(0)
            if first <= last:
                months = sum(w for _, w in month_weights(first, last))
            vacancy.vacancy_cost = round_(margin * months)
            vacancy.vacancy_source = gettext(
                'prm.msg_vacancy_source_vacancy',
                months=lang.format_number(months, 2),
                margin=lang.currency(margin, vacancy.currency))
            if not vacancy.ramp_up:
                vacancy.ramp_up = [
                    RampUp(month=i, rate=rate) for i, rate in enumerate(
                        ramp_up_rates(vacancy.ramp_up_months), 1)]
            lack = sum((1 - step.rate for step in vacancy.ramp_up), Decimal(0))
            if not vacancy.replaced_date:
                lack = Decimal(0)
            vacancy.ramp_up_cost = round_(margin * lack)
            vacancy.ramp_up_source = gettext(
                'prm.msg_vacancy_source_vacancy',
                months=lang.format_number(lack, 2),
                margin=lang.currency(margin, vacancy.currency))
            vacancy.lost_partners_cost = round_(
                revenues[vacancy] * vacancy.margin_rate)
            vacancy.lost_partners_source = ', '.join(
                p.rec_name for p in partners[vacancy] if vacancy._is_lost(p))
            vacancy.gestures_cost = round_(
                sum((a for _, a in gestures[vacancy]), Decimal(0)))
            vacancy.gestures_source = ', '.join(
                c.rec_name for c, _ in gestures[vacancy])
            if vacancy.id in hours:
                vacancy.manager_hours = hours[vacancy.id]
                vacancy.manager_source = gettext(
                    'prm.msg_vacancy_source_timesheets')
        cls.save(vacancies)

    @classmethod
    def _get_monthly_targets(cls, vacancies):
        """Return the mean, its message and its months by vacancy

        It is the one of the months with a target among the 12 before the
        leave or, without target, of the revenue since the first month that
        has some.
        """
        pool = Pool()
        Performance = pool.get('prm.performance')
        TargetLine = pool.get('prm.target.line')
        if not vacancies:
            return {}
        employees = list({v.employee for v in vacancies})
        periods = [v._past_months for v in vacancies]
        start, end = min(periods)[0], max(e for _, e in periods)
        targets = defaultdict(list)
        for line in TargetLine.search([
                    ('target.scope', '=', 'employee'),
                    ('target.measure', '=', 'revenue'),
                    ('target.employee', 'in', [e.id for e in employees]),
                    ('date', '>=', start),
                    ('date', '<=', end),
                    ]):
            targets[line.target.employee.id].append((line.date, line.amount))
        revenues = defaultdict(list)
        for employee, _, date, amount in Performance.attributed_amounts(
                start, end, employees):
            revenues[employee].append((date, amount))
        result = {}
        for vacancy, (start, end) in zip(vacancies, periods):
            for amounts, message in [
                    (targets, 'prm.msg_vacancy_source_targets'),
                    (revenues, 'prm.msg_vacancy_source_revenues')]:
                amounts = [
                    (date.replace(day=1), amount)
                    for date, amount in amounts[vacancy.employee.id]
                    if start <= date <= end]
                if amounts:
                    break
            months = {date for date, _ in amounts}
            if amounts and message == 'prm.msg_vacancy_source_revenues':
                count = len(month_weights(min(months), end))
            else:
                count = len(months) or 12
            total = sum((amount for _, amount in amounts), Decimal(0))
            result[vacancy] = total / count, message, count
        return result

    @classmethod
    def _get_partners(cls, vacancies):
        "Return the partners managed from the handover on by vacancy"
        pool = Pool()
        Manager = pool.get('prm.partner.manager')
        managers = Manager.search([
                ('employee', 'in', list({v.employee.id for v in vacancies})),
                ])
        by_employee = defaultdict(list)
        for manager in managers:
            by_employee[manager.employee].append(manager)
        return {
            vacancy: list(dict.fromkeys(
                    m.partner for m in by_employee[vacancy.employee]
                    if m.start_date <= vacancy.left_date
                    and (not m.end_date or m.end_date >= vacancy._first_day)))
            for vacancy in vacancies}

    def _is_lost(self, partner):
        "Test if the partner ended until 12 months after the leave"
        return partner.state == 'ended' and (
            self._first_day < partner.end_date
            <= self.left_date + relativedelta(months=12))

    @classmethod
    def _get_revenues(cls, vacancies, partners):
        "Return the revenue of the year before of the lost ones by vacancy"
        pool = Pool()
        Performance = pool.get('prm.performance')
        lost = {
            vacancy: {
                (p.company.id, p.party.id) for p in partners[vacancy]
                if vacancy._is_lost(p)}
            for vacancy in vacancies}
        parties = set().union(*lost.values())
        amounts = Performance.party_amounts(
            parties,
            min(v.left_date for v in vacancies) - relativedelta(months=12),
            max(v.left_date for v in vacancies))
        return {
            vacancy: sum((
                    amount for company, party, date, amount in amounts
                    if (company, party) in lost[vacancy]
                    and (vacancy.left_date - relativedelta(months=12)
                        < date <= vacancy.left_date)), Decimal(0))
            for vacancy in vacancies}

    @classmethod
    def _get_manager_hours(cls, vacancies):
        "Return the hours of the manager by identifier of those that have some"
        return {}

    @classmethod
    def _get_gestures(cls, vacancies, partners):
        "Return the gestures of the partners with their amount by vacancy"
        pool = Pool()
        Concession = pool.get('prm.concession')
        parties = {
            vacancy: {p.party for p in partners[vacancy]}
            for vacancy in vacancies}
        concessions = Concession.search([
                ('company', 'in', list({v.company.id for v in vacancies})),
                ('party', 'in', [
                        p.id for p in set().union(*parties.values())]),
                ('state', '=', 'granted'),
                ('date', '>', min(v._first_day for v in vacancies)),
                ('date', '<=', max(v._last_ramp_up_day for v in vacancies)),
                ])
        return {
            vacancy: [
                (c, (c.company_cost if c.kind == 'free_service'
                        else c.company_amount) or Decimal(0))
                for c in concessions
                if c.kind != 'payment_delay'
                and c.company == vacancy.company
                and c.party in parties[vacancy]
                and (vacancy._first_day < c.date
                    <= vacancy._last_ramp_up_day)]
            for vacancy in vacancies}


class VacancyRampUp(ModelSQL, ModelView):
    __name__ = 'prm.vacancy.ramp_up'
    __string__ = "Vacancy Ramp Up"

    vacancy = fields.Many2One(
        'prm.vacancy', "Vacancy", required=True, ondelete='CASCADE')
    month = fields.Integer(
        "Month", required=True, domain=[('month', '>=', 1)],
        help="The number of the month from the replacement.")
    rate = fields.Numeric(
        "Rate", digits=(1, 4), required=True,
        domain=[('rate', '>=', 0), ('rate', '<=', 1)],
        help="The part of the monthly target that the replacement sells.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('vacancy')
        cls._sql_constraints.append(
            ('month_unique', Unique(t, t.vacancy, t.month),
                'prm.msg_vacancy_ramp_up_month_unique'))
        cls._order = [('vacancy', 'DESC'), ('month', 'ASC'), ('id', 'ASC')]

    def get_rec_name(self, name):
        return f"{self.vacancy.rec_name} {self.month}"
