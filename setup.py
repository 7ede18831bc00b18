#!/usr/bin/env python3
# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

MODULE = 'prm'
PACKAGE = f'trytond.modules.{MODULE}'

here = Path(__file__).parent
config = ConfigParser()
config.read(here / 'tryton.cfg')
info = dict(config.items('tryton'))
major, minor, _ = info['version'].split('.', 2)
series = f'>= {major}.{minor}, < {major}.{int(minor) + 1}'


def require(name):
    return f'{name} {series}'


def require_module(name):
    return require(f'trytond_{name}')


requires = [
    f"trytond[weasyprint] {series}",
    require_module('account_fr'),
    'cssselect2',
    'icalendar >= 5',
    'lxml',
    'pygal',
    'python-dateutil',
    'python-sql >= 1.4',
    'tinycss2',
    'tqdm',
    'XlsxWriter',
    ] + [
    require_module(d) for d in info['depends'].split()
    if d not in {'ir', 'res'}]
optional = [require_module(d) for d in info.get('extras_depend', '').split()]

subpackages = find_packages(
    where=str(here),
    include=['trytond_prm', 'trytond_prm.*', 'tests', 'tests.*'])

setup(
    name='trytond_prm',
    version=info['version'],
    description="Tryton module for Partner Relationship Management",
    long_description=(here / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author="The prm founders",
    keywords="tryton partner relationship management prm buyback",
    license='GPL-3.0-or-later',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Plugins',
        'Framework :: Tryton',
        'Intended Audience :: Financial and Insurance Industry',
        'Natural Language :: English',
        'Natural Language :: French',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Office/Business',
        ],
    python_requires='>=3.10',
    package_dir={PACKAGE: '.'},
    packages=[PACKAGE] + [f'{PACKAGE}.{p}' for p in subpackages],
    package_data={PACKAGE: [
            'tryton.cfg', 'view/*.xml', 'icons/*.svg',
            'demo/*.csv', 'demo/*.json',
            'locale/*.po', 'locale/override/*.po',
            'trytond_prm/*.xml', 'trytond_prm/**/*.xml',
            'trytond_prm/**/*.fodt', 'trytond_prm/**/*.html',
            'tests/*.rst', 'tests/*.json', 'tests/*.py']},
    install_requires=requires,
    extras_require={
        'demo': [require('trytond[postgresql]')],
        'dev': [
            require('trytond[postgresql]'), 'build', 'isort', 'playwright',
            'pytest', 'ruff', 'sphinx',
            ],
        'optional': optional,
        'test': [
            require('proteus'), require_module('account_fr'), 'hypothesis',
            'ical',
            require_module('account_payment_clearing'),
            require_module('account_payment_sepa'),
            require_module('account_statement_ofx'),
            require_module('account_statement_sepa'), 'openpyxl',
            ] + optional,
        },
    entry_points={
        'console_scripts': [
            f'trytond-prm-load = {PACKAGE}.trytond_prm.load.cli:main'],
        'trytond.modules': [f'{MODULE} = {PACKAGE}'],
        },
    zip_safe=False,
    )
