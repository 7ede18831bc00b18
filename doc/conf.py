# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
from configparser import ConfigParser
from pathlib import Path

config = ConfigParser()
config.read(Path(__file__).parent.parent / 'tryton.cfg')

project = "Partner Relationship Management Module"
copyright = "2026, The prm founders"
release = config.get('tryton', 'version')
version = '.'.join(release.split('.')[:2])
language = 'en'
default_role = 'any'
exclude_patterns = ['_build']
html_theme = 'alabaster'
