# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import unittest

from trytond.modules.company.tests import set_company
from trytond.modules.prm.trytond_prm.partner.exceptions import TerritoryError
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction

from .tools import SharedMixin, count_statements, get_company


class TerritoryTestCase(SharedMixin, unittest.TestCase):
    "Test territories"

    def setUpCountries(self):
        pool = Pool()
        Country = pool.get('country.country')
        Subdivision = pool.get('country.subdivision')
        france, belgium = Country.create([
                {'name': "France", 'code': 'FR'},
                {'name': "Belgium", 'code': 'BE'},
                ])
        region, = Subdivision.create([{
                    'name': "Bretagne", 'code': 'FR-BRE',
                    'type': 'metropolitan region', 'country': france.id}])
        department, = Subdivision.create([{
                    'name': "Finistère", 'code': 'FR-29',
                    'type': 'metropolitan department',
                    'country': france.id, 'parent': region.id}])
        return france, belgium, region, department

    def create_partners(self, company, *addresses):
        pool = Pool()
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        parties = Party.create([{
                    'name': f"Party {i}",
                    'addresses': [('create', [address])] if address else [],
                    } for i, address in enumerate(addresses)])
        return Partner.create([
                {'company': company.id, 'party': p.id} for p in parties])

    @with_transaction()
    def test_default(self):
        "The territory of a partner is the narrowest that has its address"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Territory = pool.get('prm.territory')
        company = get_company()
        france, belgium, region, department = self.setUpCountries()
        with set_company(company):
            country, = Territory.create([
                    {'name': "France", 'country': france.id}])
            west, brest = Territory.create([{
                        'name': "West", 'parent': country.id,
                        'country': france.id,
                        'subdivisions': [('add', [region.id])],
                        }, {
                        'name': "Brest", 'parent': country.id,
                        'country': france.id,
                        'postal_codes': [('create', [
                                    {'start': "29 2"},
                                    {'start': "29800", 'end': "29850"},
                                    ])],
                        }])
            partners = self.create_partners(
                company,
                {'country': france.id, 'postal_code': "75001"},
                {'country': france.id, 'subdivision': department.id},
                {'country': france.id, 'subdivision': department.id,
                    'postal_code': "29200"},
                {'country': france.id, 'postal_code': "29850"},
                {'country': france.id, 'postal_code': "29851"},
                {'country': belgium.id, 'postal_code': "29200"},
                None)

            self.assertEqual(
                [p.territory for p in partners],
                [country, west, brest, brest, country, None, None])
            self.assertEqual(brest.rec_name, "France / Brest")
            self.assertEqual(
                Partner.search([
                        ('territory', 'child_of', [country.id], 'parent'),
                        ], order=[('id', 'ASC')]),
                partners[:5])

            Partner.write(partners[:1], {'territory': brest.id})
            self.assertEqual(partners[0].territory, brest)

            partner = Partner(company=company, party=partners[2].party)
            partner.on_change_party()
            self.assertEqual(partner.territory, brest)

    @with_transaction()
    def test_assign(self):
        "A new territory takes the partners without"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Territory = pool.get('prm.territory')
        company = get_company()
        france, belgium, *_ = self.setUpCountries()
        with set_company(company):
            inside, outside, other = self.create_partners(
                company, {'country': france.id}, {'country': belgium.id},
                {'country': france.id})
            typed, territory = Territory.create([
                    {'name': "Key Accounts"},
                    {'name': "France", 'country': france.id}])
            Partner.write([other], {'territory': typed.id})

            Territory.assign([territory])

            self.assertEqual(
                [p.territory for p in [inside, outside, other]],
                [territory, None, typed])

    @with_transaction()
    def test_postal_codes(self):
        "Postal codes are compared by what they start with"
        pool = Pool()
        PostalCode = pool.get('prm.territory.postal_code')
        Territory = pool.get('prm.territory')
        company = get_company()
        with set_company(company):
            territory, = Territory.create([{'name': "North"}])
        for start, end, inside, outside in [
                ("59", None, ["59", "59000", "59999"], ["5", "58", "60000"]),
                ("59", "62", ["59000", "62999"], ["58999", "63000", ""]),
                ("SW1", None, ["SW1A1AA"], ["SW2", "S"]),
                ("10000", "2", ["10000", "29999"], ["09999", "30000"]),
                ]:
            code = PostalCode(start=start, end=end)
            for value in inside:
                self.assertTrue(code.contains(value), msg=value)
            for value in outside:
                self.assertFalse(code.contains(value), msg=value)
        with self.assertRaises(TerritoryError) as cm:
            PostalCode.create([{
                        'territory': territory.id,
                        'start': "62", 'end': "59000"}])
        self.assertEqual(
            cm.exception.message,
            'The postal codes from "62" to "59000" of the territory "North" '
            'must start with the smaller one.')

    @with_transaction()
    def test_specialisations(self):
        "Partners are found by what they are good at"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Specialisation = pool.get('prm.partner.specialisation')
        company = get_company()
        with set_company(company):
            first, second = self.create_partners(company, None, None)
            retail, _ = Specialisation.create([
                    {'name': "Retail"}, {'name': "Health"}])
            Partner.write([second], {
                    'specialisations': [('add', [retail.id])]})

            self.assertEqual(
                Partner.search([('specialisations.name', '=', "Retail")]),
                [second])

    @with_transaction()
    def test_statements(self):
        "The number of statements does not depend on the partners"
        pool = Pool()
        Partner = pool.get('prm.partner')
        Party = pool.get('party.party')
        Territory = pool.get('prm.territory')
        company = get_company()
        france, *_, department = self.setUpCountries()
        with set_company(company):
            territory, = Territory.create([{
                        'name': "West", 'country': france.id,
                        'subdivisions': [('add', [department.id])],
                        'postal_codes': [('create', [{'start': "29"}])]}])
            counts = []
            for count in [2, 20]:
                parties = Party.create([{
                            'name': f"Party {i}",
                            'addresses': [('create', [{
                                            'country': france.id,
                                            'subdivision': department.id,
                                            'postal_code': "29200"}])],
                            } for i in range(count)])
                with count_statements() as statements:
                    partners = Partner.create([{
                                'company': company.id,
                                'party': p.id} for p in parties])
                    self.assertEqual(
                        {p.territory for p in partners}, {territory})
                counts.append(len([
                            s for s in statements
                            if not s.startswith('INSERT')
                            and 'ir_sequence' not in s]))
                Partner.write(partners, {'territory': None})
                with count_statements() as statements:
                    Territory.assign([territory])
                counts[-1] += len(statements)
            self.assertLessEqual(counts[1], counts[0])
