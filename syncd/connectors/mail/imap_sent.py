"""Which folder of a mailbox holds the mail that was sent from it. Pure.

The server says it by the attribute \\Sent (RFC 6154). Where it does not, the folder is known by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ATTRIBUTE = b"\\sent"
UNUSABLE = frozenset({b"\\noselect", b"\\nonexistent"})

NAMES: tuple[str, ...] = (
    # mail programs and servers in English: Dovecot, Thunderbird, Roundcube; Exchange, Outlook; Apple Mail; Gmail
    *("Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent-Mail", "Sentmail", "SentBox"),
    # as Exchange, Gmail and other hosts name the folder in the mailbox's language
    *("Thư đã gửi", "Đã gửi", "Mục đã gửi", "Tin đã gửi"),
    *("已发送", "已发送邮件", "发件箱备份", "已傳送", "寄件備份", "已寄出", "寄件匣備份"),
    *("送信済み", "送信済みメール", "送信済みアイテム", "送信済みトレイ", "보낸편지함", "보낸 편지함", "보낸메일함"),
    *("Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten"),
    *("Éléments envoyés", "Messages envoyés", "Courrier envoyé", "Envoyés", "Envoyé"),
    *("Elementos enviados", "Mensajes enviados", "Enviados", "Itens enviados", "Mensagens enviadas", "Itens Enviadas"),
    *("Posta inviata", "Inviata", "Inviati", "Elementi inviati", "Verzonden", "Verzonden items", "Verzonden berichten"),
    *("Отправленные", "Отправлено", "Надіслані", "Wysłane", "Elementy wysłane", "Odeslané", "Odeslaná pošta"),
    *("Skickat", "Skickade objekt", "Sendt", "Sendte elementer", "Sendt post", "Lähetetyt", "Gönderilmiş Öğeler"),
    *("Gönderilenler", "Elküldött", "Elküldött elemek", "Trimise", "Elemente trimise", "Terkirim", "Item Terkirim"),
)
_KNOWN = {name.casefold(): place for place, name in enumerate(NAMES)}


@dataclass(frozen=True)
class ListedFolder:
    """A folder as LIST shows it. `flags`: its attributes; `separator`: between its name and that of its parent, "" for none."""

    name: str
    flags: frozenset[bytes] = frozenset()
    separator: str = ""

    @property
    def usable(self) -> bool:
        return UNUSABLE.isdisjoint(self.flags)

    @property
    def own_name(self) -> str:
        """The name without those of its parents."""
        return self.name.rpartition(self.separator)[2] if self.separator else self.name


def listed_folder(flags: Iterable[bytes], separator: bytes | None, name: object) -> ListedFolder:
    """One line of LIST, as IMAPClient returns it."""
    return ListedFolder(
        str(name), frozenset(flag.lower() for flag in flags), (separator or b"").decode("ascii", "ignore")
    )


def sent_folder(folders: Sequence[ListedFolder]) -> str:
    """The folder of sent mail: the one that the server says it is, else the one with the best known name, nearest to the top;
    "" if there is none."""
    usable = [folder for folder in folders if folder.usable]
    marked = [folder.name for folder in usable if ATTRIBUTE in folder.flags]
    if marked:
        return marked[0]
    named = [folder for folder in usable if folder.own_name.casefold() in _KNOWN]
    best = min(named, key=lambda one: (_depth(one), _KNOWN[one.own_name.casefold()]), default=None)
    return best.name if best is not None else ""


def _depth(folder: ListedFolder) -> int:
    """How far below the top it is; below INBOX, where many servers keep all folders, counts as the top."""
    names = folder.name.split(folder.separator) if folder.separator else [folder.name]
    return len(names) - (names[0].casefold() == "inbox" and len(names) > 1)
