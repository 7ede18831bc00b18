# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import statistics
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, fields)
from trytond.pool import Pool
from trytond.pyson import Eval, If, PYSONEncoder
from trytond.transaction import Transaction
from trytond.wizard import Button, StateAction, StateView, Wizard

from ..tools import spread
from .exceptions import SeasonalityError

_SHARE = Decimal('0.000001')
# A year is an outlier of a month when it is that far from the median.
_OUTLIER = Decimal('0.5')


def derive_shares(years, method='mean'):
    """Return the shares of the 12 months and the outliers from past years

    years is a dictionary of the 12 amounts by year; a negative amount counts
    for zero and a year without amount is left out. Each year weighs the
    same: a share is the mean or the median of the shares of its years. The
    shares total exactly 1, the last month takes the remainder, or the
    highest one when the last is too small for it. An outlier
    is a pair of year and month whose share is more than 50 % away from the
    median of at least 3 years. Return None without any year.
    """
    shares_by_year = {}
    for year, amounts in years.items():
        amounts = [max(amount, Decimal(0)) for amount in amounts]
        if total := sum(amounts):
            shares_by_year[year] = [amount / total for amount in amounts]
    if not shares_by_year:
        return None, []
    compute = statistics.median if method == 'median' else statistics.mean
    months = list(zip(*shares_by_year.values()))
    means = [compute(shares) for shares in months]
    total = sum(means)
    shares = spread(
        Decimal(1), [mean / total for mean in means],
        lambda share: share.quantize(_SHARE))
    if (lowest := min(shares)) < 0:
        shares[shares.index(lowest)] = Decimal(0)
        shares[shares.index(max(shares))] += lowest
    outliers = []
    if len(shares_by_year) >= 3:
        medians = list(map(statistics.median, months))
        outliers = [
            (year, month)
            for year, values in shares_by_year.items()
            for month, (value, median) in enumerate(zip(values, medians), 1)
            if abs(value - median) > median * _OUTLIER]
    return shares, outliers


class Seasonality(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.seasonality'
    __string__ = "Seasonality"

    name = fields.Char("Name", required=True, translate=True)
    company = fields.Many2One(
        'company.company', "Company", required=True, ondelete='RESTRICT')
    lines = fields.One2Many(
        'prm.seasonality.line', 'seasonality', "Months",
        help="The share of each month in the year; a month that is not "
        "listed has none. The shares total 100 %.")
    description = fields.Text(
        "Description",
        help="Where the shares come from.")
    total = fields.Function(
        fields.Numeric("Total", digits=(16, 6)), 'on_change_with_total')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._sql_indexes.add(Index(t, (t.name, Index.Range())))
        cls._order.insert(0, ('name', 'ASC'))

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @fields.depends('lines')
    def on_change_with_total(self, name=None):
        return sum(
            (line.share or 0 for line in self.lines or []), Decimal(0))

    @property
    def shares(self):
        "The share of each month number, a month without line has zero"
        shares = dict.fromkeys(range(1, 13), Decimal(0))
        shares.update((line.month, line.share) for line in self.lines)
        return shares

    @classmethod
    def create(cls, vlist):
        with Transaction().set_context(_prm_seasonality=True):
            seasonalities = super().create(vlist)
        # The records must not keep the context
        seasonalities = cls.browse([s.id for s in seasonalities])
        cls.check_total(seasonalities)
        return seasonalities

    @classmethod
    def write(cls, *args):
        with Transaction().set_context(_prm_seasonality=True):
            super().write(*args)
        cls.check_total(cls.browse(sum(args[::2], [])))

    @classmethod
    def delete(cls, seasonalities):
        with Transaction().set_context(_prm_seasonality=True):
            super().delete(seasonalities)

    @classmethod
    def check_total(cls, seasonalities):
        "Refuse the seasonalities whose shares do not total 1 exactly"
        for seasonality in seasonalities:
            if not seasonality.lines:
                continue
            total = seasonality.on_change_with_total()
            if total != 1:
                raise SeasonalityError(gettext(
                        'prm.msg_seasonality_total',
                        seasonality=seasonality.rec_name,
                        total=total,
                        difference=1 - total))


class SeasonalityLine(ModelSQL, ModelView):
    __name__ = 'prm.seasonality.line'
    __string__ = "Seasonality Month"

    seasonality = fields.Many2One(
        'prm.seasonality', "Seasonality", required=True, ondelete='CASCADE')
    month = fields.Integer(
        "Month", required=True,
        domain=[('month', '>=', 1), ('month', '<=', 12)],
        help="The number of the month, from 1 to 12.")
    month_name = fields.Function(
        fields.Char("Name"), 'on_change_with_month_name')
    share = fields.Numeric(
        "Share", digits=(16, 6), required=True,
        domain=[('share', '>=', 0), ('share', '<=', 1)])

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls.__access__.add('seasonality')
        cls._sql_constraints += [
            ('month_unique', Unique(t, t.seasonality, t.month),
                'prm.msg_seasonality_month_unique'),
            ]
        cls._order = [
            ('seasonality', 'ASC'), ('month', 'ASC'), ('id', 'ASC')]

    @fields.depends('month')
    def on_change_with_month_name(self, name=None):
        pool = Pool()
        Month = pool.get('ir.calendar.month')
        if self.month and 1 <= self.month <= 12:
            return Month.locale(None)[self.month]

    def get_rec_name(self, name):
        return f"{self.seasonality.rec_name} {self.month}"

    @classmethod
    def on_modification(cls, mode, lines, field_names=None):
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        super().on_modification(mode, lines, field_names=field_names)
        if mode in {'create', 'write'} and not Transaction().context.get(
                '_prm_seasonality'):
            Seasonality.check_total(Seasonality.browse(
                    {line.seasonality.id for line in lines}))

    @classmethod
    def on_delete(cls, lines):
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        callback = super().on_delete(lines)
        if not Transaction().context.get('_prm_seasonality'):
            seasonalities = {line.seasonality.id for line in lines}
            callback.append(lambda: Seasonality.check_total(
                    Seasonality.browse(seasonalities)))
        return callback


class SeasonalityDerive(Wizard):
    __name__ = 'prm.seasonality.derive'

    start = StateView(
        'prm.seasonality.derive.start',
        'prm.seasonality_derive_start_view_form', [
            Button("Cancel", 'end', 'tryton-cancel'),
            Button("Create", 'create_', 'tryton-ok', default=True),
            ])
    create_ = StateAction('prm.act_seasonality_form')

    def do_create_(self, action):
        pool = Pool()
        Seasonality = pool.get('prm.seasonality')
        seasonality, = Seasonality.create([self.get_values()])
        action['pyson_domain'] = PYSONEncoder().encode(
            [('id', '=', seasonality.id)])
        return action, {'res_id': [seasonality.id]}

    def get_values(self):
        "Return the values of the seasonality of the past years"
        pool = Pool()
        Month = pool.get('ir.calendar.month')
        years = self.get_years()
        # The months to come would count for zero
        not_over = [
            str(year) for year in sorted(years)
            if year >= self.start.default_last_year() + 1
            and any(years.pop(year))]
        shares, outliers = derive_shares(years, self.start.method)
        if not shares:
            raise SeasonalityError(gettext(
                    'prm.msg_seasonality_derive_no_revenue',
                    first=self.start.first_year,
                    last=self.start.last_year))
        names = Month.locale()
        description = [gettext(
                'prm.msg_seasonality_derive_years',
                method=self.start.method_string,
                years=', '.join(
                    str(y) for y, amounts in sorted(years.items())
                    if any(a > 0 for a in amounts)))]
        if not_over:
            description.append(gettext(
                    'prm.msg_seasonality_derive_not_over',
                    years=', '.join(not_over)))
        if missing := [
                f"{names[month]} {year}"
                for year, amounts in sorted(years.items())
                if any(a > 0 for a in amounts)
                for month, amount in enumerate(amounts, 1) if amount <= 0]:
            description.append(gettext(
                    'prm.msg_seasonality_derive_missing',
                    months=', '.join(missing)))
        description += [
            gettext('prm.msg_seasonality_derive_outlier',
                month=names[month], year=year)
            for year, month in outliers]
        return {
            'name': self.start.name,
            'company': self.start.company.id,
            'description': '\n'.join(description),
            'lines': [('create', [
                        {'month': month, 'share': share}
                        for month, share in enumerate(shares, 1)])],
            }

    def get_years(self):
        "Return the actual revenue of the 12 months by year"
        pool = Pool()
        Performance = pool.get('prm.performance')
        years = {
            year: [Decimal(0)] * 12
            for year in range(
                self.start.first_year, self.start.last_year + 1)}
        scope = self.start.scope
        subject = getattr(self.start, scope)
        with Transaction().set_context(
                scope=scope, measure='revenue', **{scope: subject.id},
                start_date=dt.date(self.start.first_year, 1, 1),
                end_date=dt.date(self.start.last_year, 12, 31)):
            for month in Performance.search([
                        ('company', '=', self.start.company.id),
                        ('actual', '!=', 0),
                        ]):
                years[month.date.year][month.date.month - 1] = month.actual
        return years


class SeasonalityDeriveStart(ModelView):
    __name__ = 'prm.seasonality.derive.start'
    __string__ = "Derive a Seasonality"

    company = fields.Many2One('company.company', "Company", required=True)
    name = fields.Char("Name", required=True)
    scope = fields.Selection([
            ('company', "Company"),
            ('team', "Team"),
            ('category', "Product Category"),
            ], "Scope", required=True, sort=False,
        help="Whose revenue makes the seasonality.")
    team = fields.Many2One(
        'prm.team', "Team",
        domain=[('company', '=', Eval('company', -1))],
        states={
            'invisible': Eval('scope') != 'team',
            'required': Eval('scope') == 'team',
            })
    category = fields.Many2One(
        'product.category', "Category",
        states={
            'invisible': Eval('scope') != 'category',
            'required': Eval('scope') == 'category',
            },
        context={
            'company': Eval('company', -1),
            },
        depends={'company'})
    first_year = fields.Integer(
        "First Year", required=True,
        domain=[
            ('first_year', '>=', 1900),
            If(Eval('last_year', None),
                ('first_year', '<=', Eval('last_year', None)),
                ()),
            ],
        help="The years without revenue are left out.")
    last_year = fields.Integer(
        "Last Year", required=True, domain=[('last_year', '<=', 2100)])
    method = fields.Selection([
            ('mean', "Mean"),
            ('median', "Median"),
            ], "Method", required=True, sort=False,
        help="How the shares of the years make the one of a month: "
        "an exceptional year does not move the median.")
    method_string = method.translated('method')

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @classmethod
    def default_scope(cls):
        return 'company'

    @classmethod
    def default_first_year(cls):
        return cls.default_last_year() - 2

    @classmethod
    def default_last_year(cls):
        pool = Pool()
        Date = pool.get('ir.date')
        return Date.today().year - 1

    @classmethod
    def default_method(cls):
        return 'mean'
