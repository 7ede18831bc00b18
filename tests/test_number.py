# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest

from trytond.model.exceptions import (
    AccessError, RequiredValidationError, SQLConstraintError)
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    ShareNumberError, ShareTransactionAccessError)
from trytond.modules.prm.trytond_prm.associate.number import (
    contains, head, overlap, union)
from trytond.pool import Pool

from .test_buyback import WorldMixin, with_world
from .test_share import create_class, new, post
from .tools import count_statements


def new_ranges(*ranges):
    return [('create', [{
                    'from_number': first,
                    'to_number': last,
                    } for first, last in ranges])]


class NumberTestCase(WorldMixin, unittest.TestCase):
    "Test the numbers of shares"

    def test_ranges(self):
        "Ranges of numbers"
        ranges = [(7, 9), (1, 2), (3, 4), (20, 20)]

        self.assertEqual(union(ranges), [(1, 4), (7, 9), (20, 20)])
        self.assertEqual(head(ranges, 4), [(7, 9), (1, 1)])
        self.assertEqual(head(ranges, 3), [(7, 9)])
        self.assertIsNone(overlap(ranges))
        self.assertEqual(overlap([*ranges, (8, 30)]), 8)
        self.assertEqual([
                n for n in range(22) if contains(union(ranges), n)],
            [1, 2, 3, 4, 7, 8, 9, 20])

    def set_up(self, world):
        "Let the leaver hold 1 to 100 and 201 to 300"
        world.share_class = create_class(
            world.company, name="Numbered", numbered=True)
        post(
            new(world.share_class, '2004-03-01', 'issue', 200,
                party_to=world.leaver, from_number=1, to_number=200),
            new(world.share_class, '2004-03-01', 'issue', 100,
                party_to=world.leaver, from_number=201, to_number=300),
            new(world.share_class, '2005-01-01', 'transfer', 100,
                world.leaver, world.other, from_number=101, to_number=200))

    def transfer(self, world, number, day='2007-11-01'):
        return new(
            world.share_class, day, 'transfer', 1, world.leaver, world.other,
            from_number=number, to_number=number)

    @with_world
    def test_buyback(self, world):
        "A buyback has as many ranges as needed, reserved until the transfer"
        pool = Pool()
        Buyback = pool.get('prm.buyback')
        Range = pool.get('prm.buyback.range')
        self.set_up(world)
        with self.assertRaisesRegex(ShareNumberError,
                r'^The buyback ".+ - Leaver" can not have the number 80 '
                r'twice\. Correct the numbers\.'):
            world.create(
                'announced', quantity=60, from_number=41,
                ranges=new_ranges((80, 89), (290, 299)))
        with self.assertRaisesRegex(ShareNumberError,
                r'^The buyback ".+ - Leaver" can not have the numbers 80–129 '
                r'because they are not 10 shares\. Correct the numbers '
                r'or the quantity\.'):
            world.create(
                'announced', quantity=10, from_number=41,
                ranges=new_ranges((80, 129)))
        Buyback.write(Buyback.search([]), {'state': 'cancelled'})
        with self.assertRaisesRegex(ShareNumberError,
                r'^The buyback ".+ - Leaver" can not have the number 101 of '
                r'"Numbered" because "Leaver" does not hold it on '
                r'09/01/2007\. Correct the numbers\.'):
            world.create(
                'announced', quantity=60, from_number=41,
                ranges=new_ranges((92, 111)))
        Buyback.write(Buyback.search([]), {'state': 'cancelled'})

        buyback = world.create(
            'announced', quantity=60, from_number=41,
            route='company_purchase', title_transfer='effective',
            effective_date=dt.date(2007, 11, 5),
            ranges=new_ranges((91, 100), (290, 299)))

        self.assertEqual(
            (buyback.to_number, buyback.numbers),
            (80, "41–80, 91–100, 290–299"))
        with self.assertRaisesRegex(ShareNumberError,
                r'^The share transaction "\(\d+\)" can not be posted because '
                r'the number 295 of "Numbered" is reserved by the buyback '
                r'"%s" on 11/01/2007\. Correct the numbers or cancel the '
                r'buyback\.' % buyback.rec_name):
            post(self.transfer(world, 295))
        # Even by a transfer before that takes it from the buyback
        with self.assertRaisesRegex(ShareNumberError, 'number 295'):
            post(self.transfer(world, 295, '2006-01-01'))
        other, = Buyback.create([world.values(
                    quantity=10, from_number=81, announcement_date=None)])
        Buyback.announce([other])
        with self.assertRaisesRegex(ShareNumberError,
                r'^The buyback "%s" can not have the number 91 of "Numbered" '
                r'because it is reserved by the buyback "%s" on '
                % (other.rec_name, buyback.rec_name)):
            Buyback.write([other], {'from_number': 90})
        Buyback.write([other], {'from_number': None})
        Buyback.generate_schedule([other])
        with self.assertRaises(RequiredValidationError):
            Buyback.sign([other])
        Buyback.write([other], {'state': 'cancelled'})

        Buyback.sign([buyback])

        with self.assertRaises(AccessError):
            Range.write([buyback.ranges[0]], {'to_number': 99})
        with self.assertRaises(AccessError):
            Buyback.write([buyback], {'ranges': new_ranges((1, 2))})

        Buyback.run([buyback])

        transaction, = buyback.share_transactions
        self.assertEqual(transaction.numbers, buyback.numbers)
        self.assertEqual(
            world.share_class.get_numbers(
                world.leaver, dt.date(2007, 11, 5)),
            [(1, 40), (81, 90), (201, 289), (300, 300)])
        post(self.transfer(world, 300))
        copy, = Buyback.copy([buyback])
        self.assertEqual(copy.numbers, buyback.numbers)
        # No range moves to what does not change any more
        with self.assertRaises(AccessError) as cm:
            Range.write([copy.ranges[0]], {'buyback': buyback.id})
        self.assertEqual(
            cm.exception.message,
            'You can not modify the field "Other Numbers" of the buyback '
            f'"{buyback.rec_name}" in its state. Amend it when it is '
            'running, or cancel it and copy it.')
        draft = self.transfer(world, 299)
        draft.ranges = [{'from_number': 1, 'to_number': 1}]
        draft.save()
        with self.assertRaises(ShareTransactionAccessError) as cm:
            draft.ranges[0].write(
                list(draft.ranges), {'transaction': transaction.id})
        self.assertEqual(
            cm.exception.message,
            'You can not modify the share transaction '
            f'"{transaction.rec_name}" because it is posted. '
            'Reverse it instead.')

    @with_world
    def test_terminate(self, world):
        "Only the first numbers leave a terminated buyback"
        Buyback = Pool().get('prm.buyback')
        self.set_up(world)
        buyback = world.create(
            'running', quantity=60, from_number=41, interest_rate=None,
            ranges=new_ranges((91, 100), (290, 299)))
        world.pay(
            '2008-01-31', buyback.instalments[0].principal,
            world.lines(buyback.instalments[0]))

        Buyback.terminate([buyback])

        self.assertEqual(
            {t.numbers for t in buyback.share_transactions}, {"41–55"})
        today = dt.date.today()
        self.assertEqual(
            world.share_class.get_numbers(world.leaver, today),
            [(1, 40), (56, 100), (201, 300)])

    @with_world
    def test_constraint(self, world):
        "A range is in order"
        with self.assertRaisesRegex(SQLConstraintError,
                r'The first number of a range of shares must be greater than '
                r'zero and not be after the last one\.'):
            world.create(ranges=new_ranges((3, 2)))

    @with_world
    def test_statements(self, world):
        "The statements do not depend on the number of buybacks"
        Buyback = Pool().get('prm.buyback')
        world.share_class = create_class(
            world.company, name="Numbered", numbered=True)
        first, counts = 1, []
        for n in [2, 20]:
            post(new(
                    world.share_class, '2004-03-01', 'issue', n * 10,
                    party_to=world.leaver, from_number=first,
                    to_number=first + n * 10 - 1))
            buybacks = Buyback.create([world.values(
                        quantity=4, from_number=first + i * 10,
                        route='third_party', buyer=world.other.id,
                        title_transfer='effective',
                        ranges=new_ranges(
                            (first + i * 10 + 5, first + i * 10 + 6)))
                    for i in range(n)])
            first += n * 10
            Buyback.generate_schedule(buybacks)
            count = []
            for button in [Buyback.announce, Buyback.sign, Buyback.run]:
                with count_statements() as statements:
                    button(buybacks)
                # SQLite can only insert one by one
                count.append(len([
                            s for s in statements
                            if not s.startswith('INSERT')]))
            with count_statements() as statements:
                Buyback.read(
                    [b.id for b in buybacks], ['numbers', 'to_number'])
            counts.append([*count, len(statements)])

        for few, many in zip(*counts):
            self.assertLessEqual(many, few)
