# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"""A generated folder of spreadsheets with the figures that it must show

The figures are computed here on their own, with fractions and without any
code of the module.
"""
import csv
import datetime as dt
import random
from calendar import monthrange
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

YEARS = [2010, 2011]
DAY = dt.timedelta(days=1)


def cents(value):
    "Round a fraction half to even to cents"
    return Decimal(round(Fraction(value) * 100)) / 100


def month_of(date):
    return date.strftime('%Y-%m')


def add_months(date, months):
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    month += 1
    return dt.date(year, month, min(date.day, monthrange(year, month)[1]))


def days_30e(start, end):
    return (
        360 * (end.year - start.year) + 30 * (end.month - start.month)
        + min(end.day, 30) - min(start.day, 30))


class Story:

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tables = defaultdict(list)
        self.months = defaultdict(lambda: defaultdict(Decimal))
        self.instalments = []
        self.make_parties()
        self.make_invoices()
        self.make_concessions()
        self.make_interactions()
        self.make_shares()
        self.make_targets()

    def add(self, table, **row):
        self.tables[table].append({
                k: '' if v is None else v for k, v in row.items()})

    def write(self, path):
        for table, rows in self.tables.items():
            self.random.shuffle(rows)
            with open(
                    path / f'{table}.csv', 'w', encoding='utf-8-sig',
                    newline='') as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

    def day(self, first=None, last=None):
        first = first or dt.date(YEARS[0], 1, 1)
        last = last or dt.date(YEARS[-1], 12, 31)
        return first + self.random.randint(0, (last - first).days) * DAY

    def amount(self, first, last):
        return Decimal(self.random.randint(first * 100, last * 100)) / 100

    def make_parties(self):
        self.customers = [f'K{i}' for i in range(1, 7)]
        for i, code in enumerate(self.customers):
            self.add(
                'parties', code=code, name=f"Kunde, {code} & Söhne",
                role=['customer', 'partner'][i % 2], lang=['de', None][i % 2],
                email=None, social=None)
        for code in ['B1', 'B2', 'B3']:
            self.add(
                'parties', code=code, name=f"Associé {code}",
                role='associate', lang='fr', email=f'{code}@b.example'.lower(),
                social=None)
        for code, team, end_date in [
                ('W1', 'Nord', None), ('W2', 'Nord', '2011-03-31'),
                ('W3', None, None)]:
            self.add(
                'employees', code=code, name=f"Vendeur {code}", team=team,
                start_date='2009-01-01', end_date=end_date)
        self.add(
            'partners', party='K2', type='Reseller', manager='W2',
            state='suspended', start_date='2009-06-01', end_date=None,
            end_reason=None)
        self.add(
            'partners', party='K4', type=None, manager='W1', state='ended',
            start_date='2009-06-01', end_date='2010-05-31',
            end_reason="Bankruptcy")
        self.add(
            'partners', party='K4', type=None, manager='W3', state='active',
            start_date='2010-06-01', end_date=None, end_reason=None)
        self.add(
            'partners', party='K6', type=None, manager=None,
            state='prospect', start_date='2011-01-01', end_date=None,
            end_reason=None)
        for i, (from_, to) in enumerate([('W2', 'W1'), ('W1', 'W3')]):
            self.add('handovers', **{
                    'party': 'K2', 'from': from_, 'to': to,
                    'date': dt.date(2010, 9 + i, 1)})

    def make_invoices(self):
        self.invoices = {}
        for i in range(1, 61):
            number, date = f'R/{i}', self.day()
            amount = self.amount(50, 3000)
            party = self.random.choice(self.customers)
            self.invoices[number] = [party, date, amount]
            self.add(
                'invoices', number=number, party=party, date=date,
                description="Two\nlines" if i % 7 == 0 else None,
                amount=amount)
            self.months[month_of(date)]['gross_revenue'] += amount
            self.months[month_of(date)]['actual'] += amount

    def make_concessions(self):
        self.add('concession_reasons', name="Goodwill", separation='no')
        numbers = self.random.sample(sorted(self.invoices), 10)
        # several gestures on the same invoice
        for i, number in enumerate(numbers + numbers[:3]):
            party, date, amount = self.invoices[number]
            given = cents(Fraction(amount) / 4)
            date = self.day(date, dt.date(YEARS[-1], 12, 31))
            imputation = self.random.choice([
                    None, date, dt.date(date.year, 12, 31)])
            kind = ['credit_note', 'refund'][i % 2]
            state = 'rejected' if i == 4 else 'granted'
            self.add(
                'concessions', code=f'G/{i}', party=party, date=date,
                kind=kind, reason="Goodwill", invoice=number, amount=given,
                cost=None, imputation_date=imputation, state=state)
            if state == 'granted':
                self.months[month_of(date)]['actual'] -= given
                self.months[month_of(imputation or date)][
                    'concessions'] += given
        date = self.day()
        self.add(
            'concessions', code='G/S', party='K1', date=date,
            kind='free_service', reason="Goodwill", invoice=None,
            amount='500.00', cost='123.45', imputation_date=None,
            state='granted')
        self.months[month_of(date)]['concessions'] += Decimal('123.45')

    def make_interactions(self):
        self.tension = defaultdict(list)
        for _ in range(60):
            date = self.day()
            population = self.random.choice(['customer', 'partner', 'staff'])
            sentiment = self.random.choice([None, *range(-2, 3)])
            state = self.random.choice(['done'] * 4 + ['cancelled'])
            self.add(
                'interactions',
                party=(None if population == 'staff'
                    else self.random.choice(self.customers)),
                employee=self.random.choice(['W1', 'W3', None]),
                date=f'{date} {self.random.randint(8, 18):02}:15:30',
                channel=self.random.choice(['video', 'messaging', 'other']),
                direction='in', population=population, subject=None,
                sentiment=sentiment, state=state)
            if state == 'done':
                self.months[month_of(date)]['interactions'] += 1
                self.tension[population].append(sentiment)
        # twice the same row is two interactions
        self.add(**{'table': 'interactions', **self.tables[
                    'interactions'][0]})
        row = self.tables['interactions'][0]
        if row['state'] == 'done':
            self.months[row['date'][:7]]['interactions'] += 1
            self.tension[row['population']].append(
                None if row['sentiment'] == '' else row['sentiment'])

    def make_shares(self):
        self.add(
            'share_classes', name="A", nominal_value='7.50', votes=2)
        for party, quantity in [('B1', 500), ('B2', 300), ('B3', 200)]:
            self.add(
                'share_transactions', date='2009-01-01', kind='issue',
                share_class="A", quantity=quantity, party_from=None,
                party_to=party, unit_price='7.50')
        self.add(
            'share_transactions', date='2009-06-30', kind='transfer',
            share_class="A", quantity=50, party_from='B1', party_to='B2',
            unit_price=None)
        self.holdings = {'B1': 450, 'B2': 350, 'B3': 200}
        self.buy('P/1', 'B3', 200, dt.date(2010, 8, 31), 'act_365', 3, 2)
        self.buy('P/2', 'B2', 100, dt.date(2010, 1, 30), '30e_360', 5, 1)

    def buy(self, code, party, quantity, date, day_count, count, period):
        unit_price = Decimal(self.random.randint(100000, 999999)) / 10000
        rate = Decimal(self.random.randint(100, 900)) / 10000
        price = cents(Fraction(unit_price) * quantity)
        advance = cents(Fraction(price) / 10)
        self.add(
            'buybacks', code=code, party=party, share_class="A",
            quantity=quantity, unit_price=unit_price,
            route='capital_reduction', title_transfer='full_payment',
            announcement_date=date - 10 * DAY, signature_date=date,
            decision_date=date, opposition_end=None,
            method='constant_principal', advance=advance,
            number_of_instalments=count, period_months=period,
            interest_rate=rate, day_count=day_count)
        self.pay(code, date, advance, Decimal(0), date, advance)
        outstanding, start = price - advance, date
        part = cents(Fraction(price - advance) / count)
        for i in range(1, count + 1):
            due_date = add_months(date, i * period)
            if day_count == '30e_360':
                time = Fraction(days_30e(start, due_date), 360)
            else:
                time = Fraction((due_date - start).days, 365)
            interest = cents(
                Fraction(outstanding) * Fraction(rate) * time)
            principal = part if i < count else outstanding
            outstanding -= principal
            start = due_date
            self.instalments.append(
                (code, due_date, principal, interest, outstanding))
            # in two payments, the interest first
            total = principal + interest
            first = cents(Fraction(total) / 3)
            self.pay(
                code, due_date, min(first, interest), first, due_date)
            self.pay(
                code, due_date, interest - min(first, interest),
                total - first, due_date + 35 * DAY)
        self.holdings[party] -= quantity

    def pay(self, code, due_date, interest, amount, paid_date, *args):
        if args:
            # the advance has only principal
            self.instalments.append((
                    code, due_date, interest, Decimal(0), None))
            interest, amount = Decimal(0), args[0]
        self.add(
            'payments', buyback=code, due_date=due_date, paid_date=paid_date,
            amount=amount)
        month = self.months[month_of(paid_date)]
        month['buyback_paid'] += amount
        month['buyback_interest'] += interest
        month['buyback_principal'] += amount - interest

    def make_targets(self):
        shares = [Decimal(self.random.randint(1, 9)) for _ in range(12)]
        shares = [
            (s / sum(shares)).quantize(Decimal('0.0001')) for s in shares]
        shares[-1] += 1 - sum(shares)
        self.add(
            'seasonality', name="Curve",
            **{str(i): s for i, s in enumerate(shares, 1)})
        self.targets = {}
        for year in YEARS:
            target = self.amount(100, 90000)
            self.add(
                'targets', scope='company', code=None, measure='revenue',
                start_date=dt.date(year, 1, 1), end_date=dt.date(year, 12, 31),
                target=target, seasonality="Curve")
            rest = target
            for month, share in enumerate(shares, 1):
                amount = cents(Fraction(target) * Fraction(share))
                if month == 12:
                    amount = rest
                rest -= amount
                self.targets[dt.date(year, month, 1)] = amount

    def figures(self):
        "The figures by month"
        result = {}
        for month, values in self.months.items():
            figures = defaultdict(Decimal, values)
            figures['net_revenue'] = (
                figures['gross_revenue'] - figures['concessions'])
            figures['imputed_revenue'] = (
                figures['net_revenue'] - figures['buyback_paid'])
            result[month] = figures
        return result
