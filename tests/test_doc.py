# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
import doctest
import os
import unittest
from pathlib import Path

from trytond.tests.test_tryton import doctest_checker, doctest_teardown

DOC = Path(__file__).parent.parent / 'doc'


def setup(test):
    "The examples start with the module and a company"
    from proteus import Model, Report, Wizard

    from trytond.modules.company.tests.tools import create_company, get_company
    from trytond.modules.prm.tests.tools import ALL_MODULES
    from trytond.tests.tools import activate_modules

    # The other database is there for the scenarios
    config = activate_modules(
        ALL_MODULES if 'examples' in test.name else 'prm', create_company)
    test.globs.update(
        Model=Model,
        Report=Report,
        Wizard=Wizard,
        company=get_company(),
        config=config)


def load_tests(loader, tests, pattern):
    for path in sorted(DOC.glob('*.rst')):
        if '>>>' in path.read_text(encoding='utf-8'):
            tests.addTests(doctest.DocFileSuite(
                    os.fspath(path), module_relative=False,
                    setUp=setup, tearDown=doctest_teardown,
                    encoding='utf-8', checker=doctest_checker,
                    optionflags=doctest.ELLIPSIS
                    | doctest.REPORT_ONLY_FIRST_FAILURE))
    return tests


if __name__ == '__main__':
    unittest.main()
