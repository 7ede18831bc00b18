# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from sql.aggregate import Count

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.tools import grouped_slice
from trytond.transaction import Transaction

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts
_OPEN = ['draft', 'submitted', 'approved']


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    concessions = fields.One2Many(
        'prm.concession', 'partner', "Commercial Gestures", readonly=True,
        help="The gestures for the partner.")
    open_gestures = fields.Function(fields.Integer(
            "Open Gestures",
            help="The number of the commercial gestures for the party that "
            "are neither granted nor given up."),
        'get_open_gestures', searcher='search_open_gestures')

    @classmethod
    def _open_gestures_query(cls):
        pool = Pool()
        Concession = pool.get('prm.concession')
        concession = Concession.__table__()
        partner = cls.__table__()
        return partner, partner.join(concession, 'LEFT',
            condition=(concession.party == partner.party)
            & (concession.company == partner.company)
            & concession.state.in_(_OPEN)).select(
                partner.id, Count(concession.id).as_('open_gestures'),
                group_by=partner.id)

    @classmethod
    def get_open_gestures(cls, partners, name):
        counts = {}
        cursor = Transaction().connection.cursor()
        for sub_partners in grouped_slice(partners, _SIZE):
            partner, query = cls._open_gestures_query()
            query.where = _in(partner.id, list(map(int, sub_partners)))
            cursor.execute(*query)
            counts.update(cursor)
        return counts

    @classmethod
    def search_open_gestures(cls, name, clause):
        _, operator, value = clause
        Operator = fields.SQL_OPERATORS[operator]
        _, query = cls._open_gestures_query()
        _, count = query.columns
        query.having = Operator(count.expression, value)
        query.columns = query.columns[:1]
        return [('id', 'in', query)]

    @classmethod
    def copy(cls, partners, default=None):
        default = default.copy() if default is not None else {}
        default.setdefault('concessions', None)
        return super().copy(partners, default=default)
