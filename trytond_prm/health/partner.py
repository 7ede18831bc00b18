# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from decimal import Decimal

from sql import Cast, Window
from sql.functions import RowNumber

from trytond.model import ModelView, fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


def _decimal(value):
    "Return the number that the database gives"
    if value is None or isinstance(value, Decimal):
        return value
    # SQLite stores them as bytes
    return Decimal(
        value.decode() if isinstance(value, bytes) else str(value))


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    healths = fields.One2Many(
        'prm.partner.health', 'partner', "Health", readonly=True,
        help="How well the relationship goes, week by week.")
    health_score = fields.Function(fields.Numeric(
            "Health Score", digits=(None, 2),
            help="The last score of the health of the partner, "
            "from 0 to 100."),
        'get_health', searcher='search_health')
    health_change = fields.Function(fields.Numeric(
            "Change of Health", digits=(None, 2),
            help="How much the last score differs from the one before."),
        'get_health', searcher='search_health')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._buttons.update({
                'take_health': {
                    'invisible': ~Eval('state').in_(
                        ['onboarding', 'active', 'suspended']),
                    'icon': 'tryton-refresh',
                    'depends': ['state'],
                    },
                })

    @classmethod
    def _last_health_query(cls, where=None):
        "Return the query of the last snapshot of each partner"
        pool = Pool()
        Health = pool.get('prm.partner.health')
        health = Health.__table__()
        query = health.select(
            health.partner.as_('partner'),
            health.score.as_('health_score'),
            health.change.as_('health_change'),
            RowNumber(window=Window(
                    [health.partner],
                    order_by=[health.date.desc])).as_('rank'))
        if where:
            query.where = where(health)
        return query.select(
            query.partner, query.health_score, query.health_change,
            where=query.rank == 1)

    @classmethod
    def last_healths(cls, partners, date):
        "Return the last score of each partner before the date"
        cursor = Transaction().connection.cursor()
        scores = {}
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*cls._last_health_query(
                    lambda h: _in(h.partner, list(map(int, sub_partners)))
                    & (h.date < date)))
            for partner, score, _ in cursor:
                scores[partner] = _decimal(score)
        return scores

    @classmethod
    def get_health(cls, partners, names):
        values = {n: dict.fromkeys(map(int, partners)) for n in names}
        cursor = Transaction().connection.cursor()
        for sub_partners in grouped_slice(partners, _SIZE):
            cursor.execute(*cls._last_health_query(
                    lambda h: _in(h.partner, list(map(int, sub_partners)))))
            for partner, *health in cursor:
                for name, value in zip(
                        ['health_score', 'health_change'], health):
                    if name in values:
                        values[name][partner] = _decimal(value)
        return values

    @classmethod
    def search_health(cls, name, clause):
        pool = Pool()
        Health = pool.get('prm.partner.health')
        _, operator, value = clause
        query = cls._last_health_query()
        partner, *columns = query.columns
        column = columns[
            ['health_score', 'health_change'].index(name)]
        query.columns = [partner]
        if value is None and operator in {'=', '!='}:
            query.where &= column != None  # noqa: E711
            return [('id', 'in' if operator == '!=' else 'not in', query)]
        Operator = fields.SQL_OPERATORS[operator]
        query.where &= Operator(
            Health.score._domain_column(operator, column),
            Health.score._domain_value(operator, value))
        return [('id', 'in', query)]

    @classmethod
    def _order_health(cls, name, tables):
        pool = Pool()
        Health = pool.get('prm.partner.health')
        health = Health.__table__()
        table, _ = tables[None]
        return [health.select(
                Cast(getattr(health, name), Health.score.sql_type().base),
                where=health.partner == table.id,
                order_by=[health.date.desc], limit=1)]

    @classmethod
    def order_health_score(cls, tables):
        return cls._order_health('score', tables)

    @classmethod
    def order_health_change(cls, tables):
        return cls._order_health('change', tables)

    @classmethod
    def view_attributes(cls):
        return super().view_attributes() + [
            ('/tree/field[@name="health_change"]', 'visual',
                If(Eval('health_change', 0) < 0, 'danger', '')),
            ]

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('healths', None)
        return super().copy(partners, default=default)

    @classmethod
    @ModelView.button
    def take_health(cls, partners):
        "Take the snapshots of today"
        pool = Pool()
        Health = pool.get('prm.partner.health')
        Health.take([
                p for p in partners
                if p.state in {'onboarding', 'active', 'suspended'}])
