# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
from decimal import Decimal

from trytond.modules.account.tests import create_chart, get_fiscalyear
from trytond.modules.account_invoice.tests import set_invoice_sequences
from trytond.pool import Pool
from trytond.transaction import Transaction

from .tools import SharedMixin, with_shared


class Setup:
    "A company with a chart, two taxes and what a gesture needs"

    def __init__(self, company, today=None):
        pool = Pool()
        Account = pool.get('account.account')
        Configuration = pool.get('account.configuration')
        FiscalYear = pool.get('account.fiscalyear')
        Party = pool.get('party.party')
        PaymentMethod = pool.get('account.invoice.payment.method')
        Journal = pool.get('account.journal')
        Reason = pool.get('prm.concession.reason')
        Tax = pool.get('account.tax')

        self.company = company
        create_chart(self.company, tax=True)
        self.today = today or dt.date.today()
        fiscalyear = set_invoice_sequences(
            get_fiscalyear(self.company, today=self.today))
        fiscalyear.save()
        FiscalYear.create_period([fiscalyear])
        self.fiscalyear = fiscalyear
        self.revenue, self.other_revenue = Account.search([
                ('type.revenue', '=', True),
                ('company', '=', self.company.id),
                ('closed', '!=', True),
                ], order=[('code', 'ASC')], limit=2)
        self.receivable, = Account.search([
                ('type.receivable', '=', True),
                ('company', '=', self.company.id),
                ], limit=1)
        self.cash, = Account.search([
                ('code', '=', '1.1.1'),
                ('company', '=', self.company.id),
                ], limit=1)
        self.expense, = Account.search([
                ('type.expense', '=', True),
                ('company', '=', self.company.id),
                ('closed', '!=', True),
                ], limit=1)
        self.tax, = Tax.search([], limit=1)
        self.tax.rate = Decimal('.20')
        self.tax.save()
        self.reduced, = Tax.copy([self.tax], {
                'name': "Reduced", 'description': "Reduced",
                'rate': Decimal('.055')})
        self.journal, = Journal.search([('type', '=', 'revenue')], limit=1)
        cash, = Journal.search([('type', '=', 'cash')], limit=1)
        self.payment_method = PaymentMethod(
            name="Cash", company=self.company, journal=cash,
            credit_account=self.cash, debit_account=self.cash)
        self.payment_method.save()
        configuration = Configuration(1)
        configuration.default_account_receivable = self.receivable
        configuration.currency_exchange_debit_account = self.expense
        configuration.currency_exchange_credit_account = self.expense
        configuration.save()
        self.party = Party(name="Customer", addresses=[{}])
        self.party.save()
        self.reason = Reason(name="Quality")
        self.reason.save()

    def invoice(self, *lines, party=None, date=None, post=True, currency=None):
        "Create an invoice with lines of amount, taxes and account"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.invoice.line')
        invoice = Invoice(
            company=self.company, type='out', party=party or self.party,
            currency=currency or self.company.currency, journal=self.journal)
        invoice.on_change_party()
        invoice.account = self.receivable
        invoice.invoice_date = date or self.today
        invoice.lines = [
            Line(
                type='line', quantity=quantity, unit_price=Decimal(price),
                currency=invoice.currency, company=self.company,
                account=account or self.revenue, taxes=taxes,
                description=f"Line {i}")
            for i, (quantity, price, taxes, account) in enumerate(
                ((l + (None,) * 4)[:4] for l in lines), 1)]
        for line in invoice.lines:
            line.taxes = line.taxes or []
        invoice.save()
        if post:
            with Transaction().set_context(_skip_warnings=True):
                Invoice.post([invoice])
        return Invoice(invoice.id)

    def concession(self, amount, invoice=None, **values):
        "Create a gesture"
        pool = Pool()
        Concession = pool.get('prm.concession')
        values.setdefault('kind', 'credit_note')
        values.setdefault('party', self.party)
        values.setdefault('reason', self.reason)
        concession = Concession(
            amount=Decimal(amount), invoice=invoice, **values)
        concession.save()
        return concession

    def grant(self, *concessions):
        "Submit, approve and grant the gestures"
        pool = Pool()
        Concession = pool.get('prm.concession')
        ids = [c.id for c in concessions]
        # The tests repeat the same gestures
        with Transaction().set_context(_skip_warnings=True):
            Concession.submit(Concession.browse(ids))
        for name in ['approve', 'grant']:
            getattr(Concession, name)(Concession.browse(ids))
        return Concession.browse(ids)

    def pay(self, invoice, amount=None):
        "Pay the invoice in full"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        Line = pool.get('account.move.line')
        invoice.pay_invoice(
            invoice.total_amount if amount is None else amount,
            self.payment_method, self.today)
        lines, remainder = Invoice(
            invoice.id).get_reconcile_lines_for_amount(
                Decimal(0), invoice.currency)
        if lines and not remainder:
            Line.reconcile(lines)
        Invoice.process([Invoice(invoice.id)])
        return Invoice(invoice.id)


class SetupMixin(SharedMixin):
    "Share the setup between the tests"
    today = None

    @classmethod
    def create_shared(cls, company):
        setup = Setup(company, today=cls.today)
        cls.set_up_data(setup)
        return setup

    @classmethod
    def set_up_data(cls, setup):
        pass


with_setup = with_shared
