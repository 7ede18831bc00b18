# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Let pytest collect the scenarios"
import unittest

import pytest


class ScenarioFile(pytest.File):

    def collect(self):
        from trytond.tests.test_tryton import load_doc_tests

        loader = unittest.TestLoader()
        loader.testNamePatterns = [self.path.name]
        suite = load_doc_tests(
            'trytond.modules.prm.tests', str(self.path), loader,
            unittest.TestSuite(), None)
        for i, tests in enumerate(suite):
            for test in tests:
                yield ScenarioItem.from_parent(
                    self, name=f'{self.path.stem}[{i}]', test=test)


class ScenarioItem(pytest.Item):

    def __init__(self, *, test, **kwargs):
        super().__init__(**kwargs)
        self.test = test

    def runtest(self):
        self.test.debug()

    def repr_failure(self, excinfo):
        import doctest
        if isinstance(excinfo.value, doctest.DocTestFailure):
            failure = excinfo.value
            return (f"{failure.test.filename}:"
                f"{failure.example.lineno + 1}\n"
                f"Expected:\n{failure.example.want}"
                f"Got:\n{failure.got}")
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, self.name


def pytest_collect_file(file_path, parent):
    if file_path.match('scenario_*.rst'):
        return ScenarioFile.from_parent(parent, path=file_path)
