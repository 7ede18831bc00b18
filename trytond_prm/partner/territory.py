# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from collections import defaultdict

from trytond.i18n import gettext
from trytond.model import (
    DeactivableMixin, Index, ModelSQL, ModelView, fields, tree)
from trytond.pool import Pool
from trytond.pyson import Bool, Eval, If
from trytond.tools import grouped_slice
from trytond.transaction import Transaction, without_check_access

from .exceptions import TerritoryError

_in = fields.SQL_OPERATORS['in']
_SIZE = 10_000  # values of an IN that every database accepts


def _code(value):
    "Return the postal code as it is compared"
    return ''.join((value or '').split()).upper()


class Territory(
        DeactivableMixin, tree(separator=' / '), ModelSQL, ModelView):
    __name__ = 'prm.territory'
    __string__ = "Territory"

    company = fields.Many2One('company.company', "Company", required=True)
    name = fields.Char("Name", required=True)
    parent = fields.Many2One(
        'prm.territory', "Parent", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="The territory of which this one is a part.")
    children = fields.One2Many(
        'prm.territory', 'parent', "Children",
        domain=[
            ('company', '=', Eval('company', -1)),
            ])
    employee = fields.Many2One(
        'company.employee', "Employee", ondelete='RESTRICT',
        domain=[
            ('company', '=', Eval('company', -1)),
            ],
        help="Who is in charge of the territory.")
    country = fields.Many2One(
        'country.country', "Country", ondelete='RESTRICT',
        help="The addresses in the country belong to the territory.")
    subdivisions = fields.Many2Many(
        'prm.territory-country.subdivision', 'territory', 'subdivision',
        "Subdivisions",
        domain=[
            If(Bool(Eval('country')),
                ('country', '=', Eval('country', -1)),
                ()),
            ],
        help="Only the addresses in one of the subdivisions belong to the "
        "territory.")
    postal_codes = fields.One2Many(
        'prm.territory.postal_code', 'territory', "Postal Codes",
        help="Only the addresses with one of the postal codes belong to the "
        "territory.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        t = cls.__table__()
        cls._order.insert(0, ('name', 'ASC'))
        cls._sql_indexes.add(Index(t, (t.company, Index.Equality())))
        cls._buttons.update({
                'assign': {
                    'invisible': ~Eval('active', False),
                    'icon': 'tryton-forward',
                    'depends': ['active'],
                    },
                })

    @classmethod
    def default_company(cls):
        return Transaction().context.get('company')

    @fields.depends('country', 'subdivisions')
    def on_change_country(self):
        if self.country:
            self.subdivisions = [
                s for s in self.subdivisions or []
                if s.country == self.country]

    @classmethod
    @without_check_access
    def of_parties(cls, keys):
        """Return the territory of each company and party

        keys are the ids of a company and a party. The first active address
        of the party decides. When it is in several territories, those with
        postal codes win over those with subdivisions, over a whole country,
        and the deeper one wins over those of which it is a part.
        """
        result = dict.fromkeys(keys)
        companies = list({company for company, _ in keys})
        territories = defaultdict(list)
        for territory in cls.search([('company', 'in', companies)]):
            if (territory.country
                    or territory.subdivisions or territory.postal_codes):
                territories[territory.company.id].append(territory)
        if not territories:
            return result
        addresses = cls._first_addresses({
                party for company, party in keys if company in territories})
        for company, candidates in territories.items():
            candidates.sort(key=cls._specificity, reverse=True)
            for key in keys:
                if key[0] == company and key[1] in addresses:
                    result[key] = next((
                            t for t in candidates
                            if t._has_address(*addresses[key[1]])), None)
        return result

    @classmethod
    def _first_addresses(cls, parties):
        """Return what the territories need of the address of each party

        It is the country, the subdivisions from the smallest to the largest
        and the postal code.
        """
        pool = Pool()
        Address = pool.get('party.address')
        Subdivision = pool.get('country.subdivision')
        cursor = Transaction().connection.cursor()
        address = Address.__table__()
        addresses = {}
        for sub_parties in grouped_slice(list(parties), _SIZE):
            cursor.execute(*address.select(
                    address.party, address.country, address.subdivision,
                    address.postal_code,
                    where=_in(address.party, list(sub_parties))
                    & (address.active == True),  # noqa: E712
                    order_by=[
                        address.party, address.sequence.nulls_first,
                        address.id]))
            for party, *values in cursor:
                addresses.setdefault(party, values)
        subdivisions = {
            s.id: s for s in Subdivision.browse(list(
                    {s for _, s, _ in addresses.values() if s}))}
        for values in addresses.values():
            _, subdivision, code = values
            ancestors = []
            subdivision = subdivisions.get(subdivision)
            while subdivision:
                ancestors.append(subdivision.id)
                subdivision = subdivision.parent
            values[1:] = [set(ancestors), _code(code)]
        return addresses

    def _specificity(self):
        depth, parent = 0, self.parent
        while parent:
            depth, parent = depth + 1, parent.parent
        return (
            bool(self.postal_codes), bool(self.subdivisions),
            bool(self.country), depth, -self.id)

    def _has_address(self, country, subdivisions, code):
        "Test if what is known of an address is in the territory"
        if self.country and self.country.id != country:
            return False
        if (self.subdivisions
                and subdivisions.isdisjoint(map(int, self.subdivisions))):
            return False
        return (not self.postal_codes
            or any(c.contains(code) for c in self.postal_codes))

    @classmethod
    @ModelView.button
    def assign(cls, territories):
        "Give the partners without territory those to which they belong"
        pool = Pool()
        Partner = pool.get('prm.partner')
        partners = Partner.search([
                ('company', 'in', [t.company.id for t in territories]),
                ('territory', '=', None),
                ('state', '!=', 'ended'),
                ])
        found = cls.of_parties(
            {(p.company.id, p.party.id) for p in partners})
        to_write = defaultdict(list)
        for partner in partners:
            territory = found[partner.company.id, partner.party.id]
            if territory in territories:
                to_write[territory].append(partner)
        if to_write:
            Partner.write(*sum((
                        (ps, {'territory': t.id})
                        for t, ps in to_write.items()), ()))


class TerritorySubdivision(ModelSQL):
    __name__ = 'prm.territory-country.subdivision'
    __string__ = "Territory - Subdivision"

    territory = fields.Many2One(
        'prm.territory', "Territory", required=True, ondelete='CASCADE')
    subdivision = fields.Many2One(
        'country.subdivision', "Subdivision", required=True,
        ondelete='CASCADE')


class TerritoryPostalCode(ModelSQL, ModelView):
    __name__ = 'prm.territory.postal_code'
    __string__ = "Postal Codes of Territory"

    territory = fields.Many2One(
        'prm.territory', "Territory", required=True, ondelete='CASCADE')
    start = fields.Char(
        "Start", required=True,
        help="The first postal code or how the first ones start.")
    end = fields.Char(
        "End",
        help="The last postal code or how the last ones start.\n"
        "Leave empty for those that start like the first one.")

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('territory')
        cls._order.insert(0, ('start', 'ASC'))

    def get_rec_name(self, name):
        return ' - '.join(filter(None, [self.start, self.end]))

    @classmethod
    def search_rec_name(cls, name, clause):
        _, operator, *_ = clause
        bool_op = ('AND'
            if operator.startswith('!') or operator.startswith('not ')
            else 'OR')
        return [bool_op,
            ('start', *clause[1:]),
            ('end', *clause[1:]),
            ]

    @classmethod
    def validate_fields(cls, codes, field_names):
        super().validate_fields(codes, field_names)
        if {'start', 'end'} & field_names:
            for code in codes:
                start, end = _code(code.start), _code(code.end)
                if not start or end and end < start[:len(end)]:
                    raise TerritoryError(gettext(
                            'prm.msg_territory_postal_code',
                            start=code.start,
                            end=code.end or '',
                            territory=code.territory.rec_name))

    def contains(self, code):
        "Test if the postal code, in capitals without spaces, is in the range"
        start = _code(self.start)
        end = _code(self.end) or start
        return bool(code
            and code[:len(start)] >= start and code[:len(end)] <= end)


class PartnerSpecialisation(DeactivableMixin, ModelSQL, ModelView):
    __name__ = 'prm.partner.specialisation'
    __string__ = "Partner Specialisation"

    name = fields.Char("Name", required=True, translate=True)

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls._order.insert(0, ('name', 'ASC'))


class PartnerPartnerSpecialisation(ModelSQL):
    __name__ = 'prm.partner-prm.partner.specialisation'
    __string__ = "Partner - Specialisation"

    partner = fields.Many2One(
        'prm.partner', "Partner", required=True, ondelete='CASCADE')
    specialisation = fields.Many2One(
        'prm.partner.specialisation', "Specialisation", required=True,
        ondelete='RESTRICT')

    @classmethod
    def __setup__(cls):
        super().__setup__()
        cls.__access__.add('partner')
