"""How Zoho Desk shows its records: tickets, contacts, threads and comments in full, in lists and in searches.

Used by twin.py. Keys and types are those of recorded answers [REC]; those of threads' lists and of comments are
[DOC]. The trap
is kept: a ticket's `email` is null while its contact has one, and a list row knows neither modifiedTime nor isOverDue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from syncd.twins.state import Record
from syncd.twins.zoho_desk.org import ZohoDeskOrg

AGENT = "1329983000000139001"
DEPARTMENT = "1329983000000006907"
_PORTAL = "https://desk.zoho.com/support/twin/ShowHomePage.do#"
_HAPPINESS = {"badPercentage": "0", "okPercentage": "0", "goodPercentage": "0"}
_LAYOUT = {"id": "1329983000000074011", "layoutName": "Twin"}
_SOURCE = {"appName": None, "extId": None, "permalink": None, "type": "SYSTEM", "appPhotoURL": None}
_NOT_LISTED = frozenset({"modifiedTime", "isOverDue", "isEscalated", "cf", "customFields", "description", "modifiedBy"})


def stamp(at: float) -> str:
    """A moment as Desk writes it [REC]."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ticket(org: ZohoDeskOrg, id_: str, given: Mapping[str, Any]) -> Record:
    now = given.get("createdTime") or stamp(org.clock())
    contact = org.store.get("contacts", str(given.get("contactId"))) or {}
    number = str(101 + len(org.store.table("tickets").records))
    absent = (
        "subCategory dueDate onholdTime resolution closedTime productId priority classification phone "
        "description channelRelatedInfo "
        "responseDueDate email channelCode slaId assigneeId teamId category"
    )
    return dict.fromkeys(absent.split()) | {
        "id": id_,
        "ticketNumber": number,
        "subject": "",
        "status": "Open",
        "statusType": "Open",
        "channel": "Phone",
        "language": "English",
        "createdTime": now,
        "modifiedTime": now,
        "customerResponseTime": now,
        "contactId": given.get("contactId"),
        "accountId": contact.get("accountId"),
        "departmentId": DEPARTMENT,
        "modifiedBy": AGENT,
        "layoutId": _LAYOUT["id"],
        "layoutDetails": _LAYOUT,
        "source": _SOURCE | {"uuid": None},
        "webUrl": f"{_PORTAL}Cases/dv/{id_}",
        "threadCount": "0",
        "commentCount": "0",
        "taskCount": "0",
        "approvalCount": "0",
        "timeEntryCount": "0",
        "attachmentCount": "0",
        "isOverDue": False,
        "isResponseOverdue": False,
        "isEscalated": False,
        "isSpam": False,
        "isArchived": False,
        "isDeleted": False,
        "isTrashed": False,
        "secondaryContacts": [],
        "sharedDepartments": [],
        "entitySkills": [],
        "customFields": {},
        "cf": {},
        **given,
    }


def contact(org: ZohoDeskOrg, id_: str, given: Mapping[str, Any]) -> Record:
    now = given.get("createdTime") or stamp(org.clock())
    absent = (
        "firstName lastName facebook twitter email secondaryEmail mobile phone city country state street zip "
        "description title type "
        "language accountId zohoCRMContact photoURL"
    )
    return dict.fromkeys(absent.split()) | {
        "id": id_,
        "layoutId": "1329983000000074005",
        "layoutDetails": {"id": "1329983000000074005", "layoutName": "Twin"},
        "accountCount": "1" if given.get("accountId") else "0",
        "createdTime": now,
        "modifiedTime": now,
        "ownerId": AGENT,
        "customFields": {},
        "cf": {},
        "customerHappiness": _HAPPINESS,
        "isTrashed": False,
        "isAnonymous": False,
        "isDeleted": False,
        "isFollowing": False,
        "isEndUser": False,
        "isSpam": False,
        "webUrl": f"{_PORTAL}Contacts/dv/{id_}",
        **given,
    }


def account(org: ZohoDeskOrg, id_: str, given: Mapping[str, Any]) -> Record:
    known = {"accountName": "", "email": None, "website": None, "phone": None, "zohoCRMAccount": None}
    shown = {
        "id": id_,
        "createdTime": stamp(org.clock()),
        "customerHappiness": _HAPPINESS,
        "webUrl": f"{_PORTAL}Accounts/dv/{id_}",
    }
    return known | shown | dict(given)


def thread(org: ZohoDeskOrg, id_: str, given: Mapping[str, Any]) -> Record:
    """A mail or reply. `author` follows the direction: END_USER in, AGENT out."""
    content = str(given.get("content", ""))
    inward = given.get("direction", "in") == "in"
    owner = org.store.get("tickets", str(given.get("ticketId"))) or {}
    person = org.store.get("contacts", str(owner.get("contactId"))) or {}
    author = (
        {
            "id": person.get("id"),
            "name": _name(person),
            "email": person.get("email"),
            "type": "END_USER",
            "photoURL": None,
        }
        | {"firstName": person.get("firstName"), "lastName": person.get("lastName")}
        if inward
        else _author()
    )
    absent = "replyTo channelRelatedInfo readReceipts impersonatedUser fullContentURL"
    return dict.fromkeys(absent.split()) | {
        "id": id_,
        "ticketId": given.get("ticketId"),
        "channel": "EMAIL",
        "direction": "in",
        "status": "SUCCESS" if inward else "PENDING",
        "visibility": "public",
        "content": content,
        "contentType": "text/plain",
        "summary": content[:200],
        "createdTime": stamp(org.clock()),
        "author": author,
        "respondedIn": None if inward else "00:00:01",
        "responderId": None if inward else AGENT,
        "isDescriptionThread": False,
        "isContentTruncated": False,
        "isForward": False,
        "canReply": True,
        "hasAttach": False,
        "attachmentCount": "0",
        "attachments": [],
        "actions": [],
        "source": _SOURCE,
        "to": "",
        "cc": "",
        "bcc": "",
        "fromEmailAddress": person.get("email") or "",
        **given,
    }


def comment(org: ZohoDeskOrg, id_: str, given: Mapping[str, Any]) -> Record:
    at = given.get("commentedTime") or stamp(org.clock())
    return {
        "id": id_,
        "ticketId": given.get("ticketId"),
        "content": "",
        "contentType": "plainText",
        "isPublic": False,
        "commentedTime": at,
        "modifiedTime": None,
        "commenterId": AGENT,
        "commenter": _author() | {"roleName": "Agent"},
        "attachments": [],
        "mention": [],
        **given,
    }


MAKERS: dict[str, Callable[[ZohoDeskOrg, str, Mapping[str, Any]], Record]] = {
    "tickets": ticket,
    "contacts": contact,
    "accounts": account,
    "threads": thread,
    "comments": comment,
}


def without(record: Record, *names: str) -> Record:
    return {k: v for k, v in record.items() if k not in names}


def list_row(record: Record) -> Record:
    return {k: v for k, v in record.items() if k not in _NOT_LISTED}


def thread_row(record: Record) -> Record:
    """A list shows no content: it takes one more call a thread."""
    return without(record, "ticketId", "content", "attachments", "source")


def contact_list_row(record: Record) -> Record:
    kept = (
        "id firstName lastName accountCount email secondaryEmail mobile phone type createdTime ownerId "
        "accountId zohoCRMContact isAnonymous "
        "isEndUser photoURL isSpam webUrl customerHappiness"
    )
    return {k: record[k] for k in kept.split()}


def search_row(org: ZohoDeskOrg, record: Record) -> Record:
    return without(record, "modifiedBy", "isDeleted", "isTrashed") | {
        "contact": brief_contact(org, record["contactId"])
    }


def contact_search_row(org: ZohoDeskOrg, record: Record) -> Record:
    owner = {k: v for k, v in agent(org).items() if k in ("photoURL", "firstName", "lastName", "emailId", "id", "zuid")}
    row = without(record, "layoutDetails", "isFollowing", "isDeleted", "isTrashed") | {"owner": owner}
    return row | ({"account": _account(org, record["accountId"])} if record["accountId"] else {})


def brief_contact(org: ZohoDeskOrg, id_: str | None) -> Record | None:
    record = org.store.get("contacts", str(id_))
    if record is None:
        return None
    kept = {k: record[k] for k in ("id", "firstName", "lastName", "email", "mobile", "phone", "type")}
    return kept | {"account": _account(org, record["accountId"])}


def _account(org: ZohoDeskOrg, id_: str | None) -> Record | None:
    record = org.store.get("accounts", str(id_))
    return None if record is None else {k: record[k] for k in ("id", "accountName", "website")}


def _name(person: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (person.get("firstName"), person.get("lastName"))))


def _author() -> dict[str, Any]:
    names = {"name": "Twin Agent", "firstName": "Twin", "lastName": "Agent", "email": "agent@example.com"}
    return names | {"id": AGENT, "type": "AGENT", "photoURL": None}


def agent(org: ZohoDeskOrg) -> Record:
    texts = {"phone": "", "mobile": "", "aboutInfo": "", "extn": "", "countryCode": "en_US", "langCode": "en_US"}
    return texts | {
        "id": AGENT,
        "zuid": "924194079",
        "name": "Twin Agent",
        "firstName": "Twin",
        "lastName": "Agent",
        "emailId": "agent@example.com",
        "isConfirmed": True,
        "status": "ACTIVE",
        "roleId": "1329983000000008337",
        "profileId": "1329983000000008343",
        "rolePermissionType": "Custom",
        "photoURL": f"{org.url}/api/v1/agents/{AGENT}/photo",
        "timeZone": "Africa/Nairobi",
        "associatedDepartmentIds": [DEPARTMENT],
        "associatedChatDepartmentIds": [],
        "channelExpert": [],
        "cf": {},
        "isZiaAgent": False,
    }


def department() -> Record:
    return {
        "id": DEPARTMENT,
        "name": "Twin",
        "nameInCustomerPortal": "Twin",
        "sanitizedName": "twin",
        "description": None,
        "createdTime": "2026-06-11T15:26:07.000Z",
        "chatStatus": "NOT_CREATED",
        "creatorId": AGENT,
        "isEnabled": True,
        "isDefault": True,
        "isAssignToTeamEnabled": True,
        "isVisibleInCustomerPortal": True,
        "hasLogo": False,
    }
