# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import unittest
from decimal import Decimal
from unittest.mock import patch

from trytond.modules.prm.trytond_prm.concession.exceptions import (
    ConcessionCancelError)
from trytond.pool import Pool
from trytond.transaction import Transaction

from .concession_tools import SetupMixin, with_setup
from .tools import ALL_MODULES

D = Decimal


class ConcessionOptionalTestCase(SetupMixin, unittest.TestCase):
    "Test commercial gestures with the optional modules"
    modules = ALL_MODULES

    def product(self, setup, type='service'):
        pool = Pool()
        Category = pool.get('product.category')
        Template = pool.get('product.template')
        Uom = pool.get('product.uom')
        category = Category(
            name="Category", accounting=True,
            account_revenue=setup.revenue, account_expense=setup.expense,
            customer_taxes=[setup.tax])
        category.save()
        unit, = Uom.search([('name', '=', "Unit")])
        template = Template(
            name="Product", type=type, default_uom=unit, salable=True,
            sale_uom=unit, list_price=D(10), account_category=category,
            products=[{}])
        template.save()
        return template.products[0]

    @with_setup
    def test_commission(self, setup):
        "A gesture gives back the commission of what it credits"
        pool = Pool()
        Agent = pool.get('commission.agent')
        Commission = pool.get('commission')
        Invoice = pool.get('account.invoice')
        Party = pool.get('party.party')
        Plan = pool.get('commission.plan')
        product = self.product(setup)
        # 10 % of this product and nothing of the others
        plan = Plan(
            name="Plan", commission_product=self.product(setup),
            commission_method='posting',
            lines=[{'product': product.id, 'formula': 'amount * 0.1'}])
        plan.save()
        party = Party(name="Agent")
        party.save()
        agent = Agent(
            party=party, company=setup.company, type_='agent', plan=plan,
            currency=setup.company.currency)
        agent.save()
        invoice = setup.invoice((1, '1000', [setup.tax]), post=False)
        line, = invoice.lines
        line.product = product
        line.unit = product.default_uom
        line.save()
        invoice.agent = agent
        invoice.save()
        with Transaction().set_context(_skip_warnings=True):
            Invoice.post([invoice])
        self.assertEqual(
            [c.amount for c in Commission.search([])], [D('100')])

        setup.grant(setup.concession('300', invoice))

        self.assertEqual(
            sum(c.amount for c in Commission.search([])), D('70'))

    @with_setup
    def test_sale(self, setup):
        "A gesture does not take back what has been sold"
        pool = Pool()
        Sale = pool.get('sale.sale')
        SaleLine = pool.get('sale.line')
        Invoice = pool.get('account.invoice')
        product = self.product(setup)
        sale = Sale(
            company=setup.company, currency=setup.company.currency,
            party=setup.party, invoice_address=setup.party.addresses[0],
            shipment_address=setup.party.addresses[0],
            invoice_method='order', shipment_method='manual',
            lines=[SaleLine(
                    product=product, quantity=5, unit=product.default_uom,
                    unit_price=D(10), taxes=[setup.tax])])
        sale.save()
        with Transaction().set_context(_skip_warnings=True):
            for name in ['quote', 'confirm', 'process']:
                getattr(Sale, name)([Sale(sale.id)])
            invoice, = Sale(sale.id).invoices
            invoice.invoice_date = setup.today
            invoice.save()
            Invoice.post([invoice])

        concession, = setup.grant(setup.concession('20', invoice))

        note, = concession.results
        self.assertEqual([l.product for l in note.lines], [None])
        line, = Sale(sale.id).lines
        self.assertEqual(
            [l.invoice for l in line.invoice_lines], [invoice])
        self.assertEqual(list(Sale(sale.id).invoices), [invoice])
        self.assertIsNone(line.get_invoice_line() or None)

    @with_setup
    def test_price_list(self, setup):
        "A gesture is limited to the price of the price list, to the cent"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        PriceList = pool.get('product.price_list')
        Sale = pool.get('sale.sale')
        SaleLine = pool.get('sale.line')
        product = self.product(setup)
        price_list = PriceList(
            name="Partner", company=setup.company, price='list_price',
            lines=[{'formula': 'list_price * 0.9333'}])
        price_list.save()
        sale = Sale(
            company=setup.company, party=setup.party, invoice_method='order',
            shipment_method='manual')
        sale.on_change_party()
        sale.price_list = price_list
        sale.currency = setup.company.currency
        sale.invoice_address, = setup.party.addresses
        sale.shipment_address, = setup.party.addresses
        line = SaleLine(sale=sale, product=product, quantity=3)
        line.on_change_product()
        self.assertEqual(line.unit_price, D('9.3330'))
        sale.lines = [line]
        sale.save()
        with Transaction().set_context(_skip_warnings=True):
            for name in ['quote', 'confirm', 'process']:
                getattr(Sale, name)([Sale(sale.id)])
            invoice, = Sale(sale.id).invoices
            invoice.invoice_date = setup.today
            invoice.save()
            Invoice.post([invoice])
        concession = setup.concession('13.99', invoice)
        self.assertEqual(concession.invoice_remaining, D('28.00'))

        concessions = setup.grant(
            concession, setup.concession('14.01', invoice))

        notes = [n for c in concessions for n in c.results]
        self.assertEqual(
            [n.untaxed_amount for n in notes], [D('-13.99'), D('-14.01')])
        self.assertEqual(
            sum(n.total_amount for n in notes),
            -Invoice(invoice.id).total_amount)
        self.assertEqual(
            [l.invoice for l in Sale(sale.id).lines[0].invoice_lines],
            [invoice])

    def complaint(self, setup, invoice):
        "Return a complaint which has credited 100"
        pool = Pool()
        Complaint = pool.get('sale.complaint')
        Model = pool.get('ir.model')
        Type = pool.get('sale.complaint.type')
        model, = Model.search([('name', '=', 'account.invoice')])
        type_ = Type(name="Invoice", origin=model)
        type_.save()
        complaint = Complaint(
            customer=setup.party, company=setup.company, type=type_,
            origin=invoice, date=setup.today,
            actions=[{
                    'action': 'credit_note',
                    'invoice_lines': [{
                            'line': invoice.lines[0].id,
                            'quantity': 1,
                            }],
                    }])
        complaint.save()
        Complaint.wait([complaint])
        Complaint.approve([complaint])
        Complaint.process([complaint])
        return Complaint(complaint.id)

    @with_setup
    def test_complaint(self, setup):
        "The credit notes of complaints count"
        invoice = setup.invoice(
            (2, '100', [setup.tax]),
            (1, '100', [setup.reduced], setup.other_revenue))
        action, = self.complaint(setup, invoice).actions
        self.assertEqual(action.result.untaxed_amount, D('-100'))

        concession = setup.concession('200', invoice, kind='refund')
        self.assertEqual(concession.invoice_remaining, D('200'))
        concession, = setup.grant(concession)

        note, = concession.results
        self.assertEqual(
            [(l.account, l.amount) for l in note.lines],
            [(setup.revenue, D('-100')), (setup.other_revenue, D('-100'))])

    @with_setup
    def test_complaint_gesture(self, setup):
        "The credit note of a complaint is raised as a gesture, once"
        pool = Pool()
        Concession = pool.get('prm.concession')
        Month = pool.get('prm.review.month')
        invoice = setup.invoice((2, '100', [setup.tax]))
        complaint = self.complaint(setup, invoice)
        concession = Concession(company=setup.company, complaint=complaint)
        concession.on_change_complaint()
        self.assertEqual(
            [concession.party, concession.invoice, concession.amount,
                concession.initiative, concession.credit_note],
            [setup.party, invoice, D('100'), 'customer',
                complaint.actions[0].result])

        concession, = setup.grant(setup.concession(
                '100', invoice, complaint=complaint,
                credit_note=complaint.actions[0].result))

        note, = concession.results
        self.assertEqual(note.state, 'posted')
        self.assertEqual(concession.invoice_remaining, D('100'))
        month, = Month.search([])
        self.assertEqual(
            [month.gross_revenue, month.concessions, month.net_revenue],
            [D('200'), D('100'), D('100')])
        again = Concession(company=setup.company, complaint=complaint)
        again.on_change_complaint()
        self.assertIsNone(getattr(again, 'credit_note', None))

    @with_setup
    def test_payment(self, setup):
        "A refund is paid by the payment journal of the configuration"
        pool = Pool()
        Concession = pool.get('prm.concession')
        Configuration = pool.get('prm.configuration')
        Payment = pool.get('account.payment')
        PaymentJournal = pool.get('account.payment.journal')
        journal = PaymentJournal(
            name="Bank", currency=setup.company.currency,
            company=setup.company, process_method='manual')
        journal.save()
        invoice = setup.pay(setup.invoice((1, '100', [setup.tax])))
        concession, = setup.grant(
            setup.concession('10', invoice, kind='refund'))
        self.assertFalse(concession.payments)
        configuration = Configuration(1)
        configuration.concession_payment_journal = journal
        configuration.save()

        concessions = setup.grant(*(
                setup.concession('20', invoice, kind='refund')
                for _ in range(2)))

        payments = [p for c in concessions for p in c.payments]
        self.assertEqual(
            [(p.state, p.kind, p.amount, p.party, p.date) for p in payments],
            [('draft', 'payable', D('24'), setup.party, setup.today)] * 2)
        Concession.cancel(concessions[:1])
        self.assertEqual(Payment.search([]), payments[1:])
        Payment.submit(payments[1:])
        with self.assertRaisesRegex(
                ConcessionCancelError, "its payment .* is under way"):
            Concession.cancel(Concession.browse([concessions[1].id]))

        # The money that has left is charged
        payments = Payment.browse(payments[1:])
        Payment.approve(payments)
        group, = pool.get('account.payment.group').create([{
                    'journal': journal.id,
                    'kind': 'payable',
                    'company': setup.company.id,
                    }])
        Payment.process(payments, lambda: group)
        Payment.succeed(payments)
        Concession.cancel(Concession.browse([concessions[1].id]))
        note, charge = Concession(concessions[1].id).results
        self.assertEqual(
            [note.state, charge.state, charge.amount_to_pay],
            ['posted', 'posted', D('24')])

    @with_setup
    def test_notification_email(self, setup):
        "Those who may approve a gesture receive an e-mail"
        pool = Pool()
        Concession = pool.get('prm.concession')
        Email = pool.get('notification.email')
        Group = pool.get('res.group')
        ModelData = pool.get('ir.model.data')
        User = pool.get('res.user')
        user = User(
            name="Dora", login='dora', email='dora@example.com',
            companies=[setup.company], company=setup.company,
            groups=[Group(ModelData.get_id('prm', 'group_prm_manager'))])
        user.save()
        concession = setup.concession('10')
        email, = Email.search([('model', '=', 'prm.concession')])
        trigger, = email.triggers
        with patch(
                'trytond.modules.notification_email.notification.'
                'send_message_transactional') as send, patch(
                'trytond.modules.notification_email.notification.'
                'SMTPDataManager'):
            Concession.submit([concession])
            concession = Concession(concession.id)
            Email.trigger([concession], trigger)

        (message,), _ = send.call_args
        self.assertIn('dora@example.com', message['To'])
        self.assertIn(concession.rec_name, message.as_string())

    @with_setup
    def test_copy_credited_line(self, setup):
        "The copy of a credit note is no gesture"
        pool = Pool()
        Invoice = pool.get('account.invoice')
        concession, = setup.grant(setup.concession(
                '10', setup.invoice((1, '100', [setup.tax]))))

        copy, = Invoice.copy(list(concession.results))

        self.assertEqual(
            [(l.origin, l.concession_line) for l in copy.lines],
            [(None, None)])
