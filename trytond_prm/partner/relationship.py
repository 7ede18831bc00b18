# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict

from trytond.model import fields
from trytond.pool import Pool, PoolMeta
from trytond.pyson import Eval


class Partner(metaclass=PoolMeta):
    __name__ = 'prm.partner'

    relations = fields.Function(fields.One2Many(
            'party.relation.all', None, "Relations",
            states={
                'readonly': Eval('state') == 'ended',
                },
            help="How the party relates to other parties."),
        'get_relations', setter='set_relations',
        searcher='search_relations')

    @classmethod
    def get_relations(cls, partners, name):
        pool = Pool()
        Relation = pool.get('party.relation.all')
        relations = defaultdict(list)
        for relation in Relation.search([
                    ('from_', 'in', list({p.party.id for p in partners})),
                    ]):
            relations[relation.from_].append(relation.id)
        return {p.id: relations[p.party] for p in partners}

    @classmethod
    def set_relations(cls, partners, name, value):
        pool = Pool()
        Party = pool.get('party.party')
        Party.write([p.party for p in partners], {'relations': value})

    @classmethod
    def search_relations(cls, name, clause):
        return [('party.' + clause[0], *clause[1:])]
