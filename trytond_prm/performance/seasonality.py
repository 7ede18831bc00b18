# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, Unique, fields)
from trytond.pool import Pool
from trytond.transaction import Transaction

from .exceptions import SeasonalityError


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
