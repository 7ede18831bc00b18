# This file is part of Tryton.  The COPYRIGHT file at the top level of
# this repository contains the full copyright notices and license terms.
"Read e-mails and calendars; no model here."
import datetime as dt
import email
import hashlib
import mailbox
import re
import tempfile
from dataclasses import dataclass, field
from email.policy import default as email_policy
from email.utils import getaddresses, parsedate_to_datetime

import icalendar
from lxml import etree, html

from trytond.tools import timezone as tz

_MAX_SUBJECT = 250
_CONTROL = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f]')


class MessageError(Exception):
    "The message of the number is not an e-mail or an event"

    def __init__(self, number):
        super().__init__(number)
        self.number = number


@dataclass
class Message:
    """An e-mail or an event

    The date is in UTC and None if unknown, the addresses are in lower case.
    """
    kind: str
    identifier: str
    date: dt.datetime = None
    subject: str = None
    body: str = None
    sender: str = None
    recipients: list = field(default_factory=list)
    references: list = field(default_factory=list)
    attachments: list = field(default_factory=list)
    duration: dt.timedelta = None
    recurrent: bool = False

    @property
    def title(self):
        "Return what tells the message apart"
        return ' - '.join(
            filter(None, [self.sender, self.subject])) or self.identifier


def clean(text):
    "Return the text without what a database does not store"
    if not text:
        return None
    text = _CONTROL.sub('', str(text).replace('\r\n', '\n'))
    text = text.encode('utf-8', 'replace').decode('utf-8').strip()
    return text or None


def clean_line(text):
    "Return the text on one short line"
    text = clean(text)
    return ' '.join(text.split())[:_MAX_SUBJECT] if text else None


def to_utc(moment, zone):
    "Return the naive UTC of the date or datetime, by default in the zone"
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime.combine(moment, dt.time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(tz.UTC).replace(tzinfo=None, microsecond=0)


# What the libraries raise on malformed messages, whose headers and parts are
# only parsed when they are read
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError)


def _read(items, read, *args):
    messages = []
    for number, item in enumerate(items, 1):
        try:
            messages.append(read(item, *args))
        except MALFORMED as exception:
            raise MessageError(number) from exception
    return messages


def read_mails(data):
    """Return the messages of an e-mail or of an mbox

    Raise a MessageError if there is something else.
    """
    if not data.startswith(b'From '):
        return _read([data], _read_mail)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        box = mailbox.mbox(file.name, create=False)
        try:
            return _read(map(box.get_bytes, box.keys()), _read_mail)
        finally:
            box.close()


def _read_mail(data):
    mail = email.message_from_bytes(data, policy=email_policy)
    senders = _addresses(mail, 'From')
    if not senders:
        raise ValueError("no sender")
    identifier = clean_line(' '.join(_raw(mail, 'Message-ID')))
    if not identifier:
        identifier = f'<{hashlib.sha256(data).hexdigest()}>'
    date = None
    if mail.get('Date'):
        try:
            date = to_utc(parsedate_to_datetime(str(mail['Date'])), tz.UTC)
        except (ValueError, TypeError, OverflowError):
            # The moment of the import replaces it
            pass
    references = []
    for name in ['In-Reply-To', 'References']:
        for value in _raw(mail, name):
            references.extend(
                r for r in reversed(re.findall(r'<[^<>\s]+>', value))
                if r not in references)
    body = mail.get_body(('plain', 'html'))
    attachments = []
    for i, part in enumerate(mail.iter_attachments(), 1):
        attachments.append((
                clean_line(part.get_filename()) or f'{i}', _content(part)))
    return Message(
        kind='email',
        identifier=identifier,
        date=date,
        subject=clean_line(mail.get('Subject')),
        body=_text(body) if body is not None else None,
        sender=senders[0],
        recipients=_addresses(mail, 'To') + _addresses(mail, 'Cc'),
        references=references,
        attachments=attachments)


def _raw(mail, name):
    "Return the values of the header, which may be malformed"
    return [
        str(v) for n, v in mail.raw_items() if n.lower() == name.lower()]


def _addresses(mail, name):
    return [
        a.lower() for _, a in getaddresses(
            [str(v) for v in mail.get_all(name, [])])
        if '@' in a]


def _content(part):
    "Return the bytes of the part"
    if part.is_multipart():
        # An e-mail that is attached
        return b'\n'.join(p.as_bytes() for p in part.get_payload())
    return part.get_payload(decode=True) or b''


def _text(part):
    "Return the text of the part"
    content = part.get_payload(decode=True) or b''
    try:
        content = content.decode(
            part.get_content_charset('utf-8'), 'replace')
    except LookupError:
        content = content.decode('latin-1')
    content = _CONTROL.sub('', content)
    if part.get_content_subtype() == 'html' and content.strip():
        try:
            tree = html.fromstring(content.encode(), parser=html.HTMLParser(
                    encoding='utf-8', remove_comments=True))
            etree.strip_elements(tree, 'script', 'style', with_tail=False)
            content = '\n'.join(
                ' '.join(t.split()) for t in tree.itertext() if t.strip())
        except etree.ParserError:
            content = None
    return clean(content)


def read_events(data, zone):
    """Return the messages of the events of an iCalendar

    Moments without time zone are in the zone. Raise a MessageError if there
    is something else.
    """
    try:
        events = icalendar.Calendar.from_ical(data).walk('VEVENT')
    except MALFORMED as exception:
        raise MessageError(1) from exception
    return _read(
        [e for e in events if e.get('STATUS') != 'CANCELLED'],
        _read_event, zone)


def _read_event(event, zone):
    date = event.decoded('DTSTART')
    start = to_utc(date, zone)
    identifier = clean_line(event.get('UID'))
    if not identifier:
        identifier = hashlib.sha256(event.to_ical()).hexdigest()
    if 'RECURRENCE-ID' in event:
        identifier += '/%s' % event['RECURRENCE-ID'].to_ical().decode()
    duration = None
    if 'DTEND' in event:
        duration = to_utc(event.decoded('DTEND'), zone) - start
    elif 'DURATION' in event:
        duration = event.decoded('DURATION')
    if duration is not None and duration < dt.timedelta():
        raise ValueError("ends before its start")
    sender, *_ = _event_addresses(event, 'ORGANIZER') or [None]
    return Message(
        kind='event',
        identifier=identifier,
        date=start,
        subject=clean_line(event.get('SUMMARY')),
        body=clean('\n\n'.join(filter(None, [
                        event.get('LOCATION'), event.get('DESCRIPTION')]))),
        sender=sender,
        recipients=_event_addresses(event, 'ATTENDEE'),
        duration=duration,
        recurrent='RRULE' in event)


def _event_addresses(event, name):
    values = event.get(name, [])
    if not isinstance(values, list):
        values = [values]
    return [
        str(v)[len('mailto:'):].strip().lower() for v in values
        if str(v).lower().startswith('mailto:')]
