# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import datetime as dt
import unittest
import zipfile
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

from trytond.modules.company.tests import set_company
from trytond.modules.prm.trytond_prm.associate.exceptions import (
    ShareReportError)
from trytond.pool import Pool
from trytond.tests.test_tryton import with_transaction
from trytond.transaction import Transaction

from .test_share import create_class, create_parties, new, post
from .tools import SharedMixin, get_company


def as_html(Report):
    "Return the HTML before its conversion"
    return patch.object(
        Report, 'convert', lambda action, data: ('html', data))


class ShareReportTestCase(SharedMixin, unittest.TestCase):
    "Test the documents of the share register"

    def setup_register(self):
        company = get_company()
        with set_company(company):
            class_ = create_class(company, numbered=True)
            a, b = create_parties("Alice", "Bruno & Co")
            post(
                new(class_, '2004-03-01', 'issue', 1600, party_to=a,
                    from_number=1, to_number=1600, description="<Deed>"),
                new(class_, '2004-03-01', 'issue', 400, party_to=b,
                    from_number=1601, to_number=2000),
                new(class_, '2008-02-29', 'repurchase', 400, b,
                    from_number=1601, to_number=2000))
        return company

    @with_transaction()
    def test_register(self):
        "The register has the movements of the period and the holdings"
        Report = Pool().get('prm.share.register', type='report')
        company = self.setup_register()
        data = {
            'company': company.id,
            'start_date': None,
            'end_date': dt.date(2008, 2, 29),
            'language': 'en',
            }
        with set_company(company), as_html(Report):
            _, content, _, name = Report.execute([], data)
            _, before, _, _ = Report.execute(
                [], data | {'end_date': dt.date(2008, 2, 28)})
            _, after, _, _ = Report.execute(
                [], data | {'start_date': dt.date(2008, 1, 1)})

        self.assertEqual(name, "Share Register")
        for text in [
                "Movements to 02/29/2008", "Holdings on 02/29/2008",
                "Bruno &amp; Co", "&lt;Deed&gt;", "1601 to 2000",
                "Repurchase", "80.0000%", "20.0000%", "100.0000%",
                "1601–2000</td>"]:
            with self.subTest(text=text):
                self.assertIn(text, content)
        self.assertNotIn("Repurchase", before)
        self.assertNotIn("Issue<", after)
        self.assertIn(
            "Movements from 01/01/2008 to 02/29/2008", after)

    @with_transaction()
    def test_register_pdf(self):
        "The register is a PDF"
        Report = Pool().get('prm.share.register', type='report')
        company = self.setup_register()
        with set_company(company):
            extension, content, _, _ = Report.execute([], {
                    'company': company.id,
                    'start_date': None,
                    'end_date': dt.date(2008, 2, 29),
                    'language': 'en',
                    })

        self.assertEqual(extension, 'pdf')
        self.assertTrue(content.startswith(b'%PDF'))

    @with_transaction()
    def test_certificate(self):
        "A certificate has what one party holds"
        pool = Pool()
        Holding = pool.get('prm.share.holding')
        Report = pool.get('prm.share.certificate', type='report')
        company = self.setup_register()
        with set_company(company), \
                Transaction().set_context(date=dt.date(2004, 3, 1)), \
                as_html(Report):
            alice, bruno = Holding.search([])
            data = {'model': 'prm.share.holding'}
            extension, content, _, _ = Report.execute([bruno.id], data)
            both, archive, _, _ = Report.execute([bruno.id, alice.id], data)

        self.assertEqual(extension, 'html')
        for text in [
                "Dunder Mifflin certifies that, according to its register of "
                "share movements, Bruno &amp; Co holds on 03/01/2004:",
                "1601 to 2000", "20.0000%"]:
            with self.subTest(text=text):
                self.assertIn(text, content)
        self.assertNotIn("Alice", content)
        self.assertEqual(both, 'zip')
        with zipfile.ZipFile(BytesIO(archive)) as archive:
            self.assertEqual(len(archive.namelist()), 2)

    @with_transaction()
    def test_certificate_empty(self):
        "Nothing can not be certified"
        Report = Pool().get('prm.share.certificate', type='report')
        with self.assertRaisesRegex(ShareReportError,
                r'There is no holding on this date to certify\. '
                r'Choose another date or another holder\.'):
            Report.execute([], {'model': 'prm.share.holding'})

    @with_transaction()
    def test_translations(self):
        "The text of the documents can be translated"
        Set = Pool().get('ir.translation.set', type='wizard')
        session_id, _, _ = Set.create()
        path = Path(__file__).parent.parent / 'trytond_prm' / 'associate'
        for name, text in [
                ('share_register', "Register of Share Movements"),
                ('share_certificate', "Certificate of Holding"),
                ]:
            with self.subTest(name=name):
                self.assertIn(text, list(Set(session_id).extract_report_html(
                            (path / f'{name}.html').read_bytes())))
