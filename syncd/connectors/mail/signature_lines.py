"""What a mail program appends to a person's words: the signature below `-- ` and lines such as "Sent from my iPhone".

Pure. Only the last lines of a text are looked at, and only a whole line counts: "Sent from my warehouse" is a person's.
"""

from __future__ import annotations

import re

from syncd.connectors.text import tidy

MARK = "\ue002"
"""Stands for a line that is exactly `-- ` (RFC 3676 4.3), whose blank is lost when a text is tidied."""

_SIGNATURE_LINES = 15
_SIGNATURE_CHARACTERS = 1500
_LINE_CAP = 160

# How the line begins, in the languages of the big mail programs; what follows must be a device or a program.
_BEGINNING = re.compile(
    r"(?:(?:diese nachricht wurde|cet e-?mail a été|este mensaje (?:fue|ha sido)|this (?:e-?mail|message) was)\s+)?"
    r"(?:sent (?:from|via|with|using|by)|get|download|gesendet (?:von|mit|aus|über)|von|mit|holen sie sich|laden sie"
    r"|envoyé (?:de|depuis|avec|via|à partir (?:de|d['’]))|envoyé|obtenir|obtenez|télécharge[rz]"
    r"|enviado (?:desde|do|da|de|pelo|com|con|via|a partir d[oae])"
    r"|obtener|obtén|obtenga|descarga[r]?|obter|obtenha|baixe|transferir o|inviato (?:da|dal|dall['’]|con"
    r"|tramite|mediante)|ottieni|scarica"
    r"|verzonden (?:vanaf|met|via|vanuit)|verstuurd (?:vanaf|met|via|vanuit)|download|wysłan[eoy] (?:z"
    r"|za pomocą|przy użyciu)|pobierz|uzyskaj"
    r"|отправлено (?:с|из|от|через)|отправлено|получить|скачать|загрузить|надіслано (?:з|із)|надіслано"
    r"|(?:đã |được )?gửi từ|tải|nhận|lấy"
    r"|skickat (?:från|med)|hämta|sendt (?:fra|med)|hent|lähetetty|hanki|odesláno (?:z|ze|pomocí)|získat"
    r"|stáhnout|küldve|elküldve|trimis (?:de pe|din|de la|cu)"
    r"|εστάλη από|στάλθηκε από|dikirim dari|ส่งจาก|تم الإرسال من|أُ?رسلت من|נשלח מה?)\b[ -]?",
    re.IGNORECASE,
)
_THINGS = (
    r"i?phone[\w'’-]*|ipad[\w'’-]*|ipod|iphon[\w'’-]*|mac(?:book)?|samsung|galaxy|android\w*|huawei|honor"
    r"|xiaomi|redmi|poco|oppo|vivo|realme|oneplus"
    r"|pixel|nokia|blackberry|htc|sony|xperia|lg|motorola|moto|smartphone\w*|mobile|mobil\w*|móvil"
    r"|celular|telefon\w*|téléphone"
    r"|telefono|telefoon|handy|tablet\w*|tablette|mobiltelefon\w*|điện thoại|outlook|mail|e-?mail|gmail"
    r"|yahoo|proton\w*|superhuman|gmx|web\.de|aol"
    r"|thunderbird|spark|tutanota|tuta|zoho|windows|почт\w*|яндекс\w*|mail\.ru|смартфон\w*|телефон\w*"
    r"|courrier|correo|correio|posta"
    r"|poczt\w*|thư|zalo|ios|ไอโฟน"
)
_FILLERS = (
    r"my|e|t|galaxys?|the|a|an|our|for|on|from|by|to|via|using|and|app|apps|application|new|device|secure|free|email"
    r"|search|organi[sz]e|conquer|ios|auf|online|cloud|pro|max|plus|mini|ultra"
    r"|note|edge|lite|fold|flip|se|air|xl|phone|powered|wireless|network|verizon|t-mobile|at&t|vodafone"
    r"|o2|telekom|orange|desktop|lte"
    r"|meinem|meiner|gerät|gesendet|der|die|das|dem|für|von|mit|aus|sie|herunter|beziehen|kostenlos\w*"
    r"|verschickt|versendet"
    r"|mon|ma|mes|le|la|les|l['’]\w+|d['’]\w+|appareil|pour|de|du|mi|mis|tu|el|para|desde|dispositivo"
    r"|teléfono|meu|minha|o|os|do|da|dos|no|na"
    r"|aplicativo|aplicación|mio|mia|il|lo|per|un|dal|dispositivo|app|mijn|mijne|voor|toestel|met|z|ze"
    r"|mojego|mojej|moje|aplikacji|aplikację"
    r"|aplikace|dla|systemu|urządzenia|с|из|моего|моей|мобильной|мобильного|приложения|устройства|для"
    r"|телефона|ios|của|tôi|mình|cho|trên"
    r"|thiết|bị|ứng|dụng|máy|tính|bảng|min|mitt|från|til|till|fra|för|med|enhet|mého|mém|pro|zařízení"
    r"|készülékemről|az|a|le|ul|meu|pe|το|μου|із"
    r"|мого|saya|ponsel|perangkat|ของฉัน|ของ|ฉัน|الـ|الخاص|بي|שלי|ה"
)
_WORDS = re.compile(rf"(?:(?P<thing>{_THINGS})|{_FILLERS}|\w*\d\w*|[-–—+&|/])", re.IGNORECASE)
_LINK = re.compile(r"[<(\[]?\bhttps?://[^\s<>)\]]+[>)\]]?")

# Languages that write without blanks, or put the device first: the whole line, with the device in it.
_DEVICE = (
    r"(?:i ?phone|i ?pad|mac|outlook|android|ios|windows|galaxy|samsung|[a-z][\w .+™-]{1,24}|小米|红米"
    r"|华为|荣耀|三星|盖乐世|魅族|手机|手機|平板|网易|邮箱|갤럭시|삼성|아이폰|스마트폰|휴대폰|メール"
    r"|スマートフォン|スマホ|携帯)"
)
_WHOLE = re.compile(
    rf"(?:(?:发|發|发送|發送|寄|来|來|传送|傳送)自(?:我的|于)?\s*{_DEVICE}[\w\s™+-]{{0,20}}|(?:从|從"
    rf"|用)(?:我的)?\s*{_DEVICE}[\w\s]{{0,12}}(?:发送|發送|传送|傳送|寄出)"
    rf"|(?:获取|取得|下载|下載|取得適用於)[\w\s]{{0,12}}outlook[\w\s]{{0,12}}|寄件自?\s*{_DEVICE}[\w\s]{{0,12}}"
    rf"|(?:私の)?\s*{_DEVICE}[\w\s™]{{0,12}}から送信(?:されました|しました)?"
    rf"|[\w\s]{{0,12}}outlook[\w\s]{{0,6}}を(?:入手|ダウンロード)(?:する)?"
    rf"|(?:나의|내|제)?\s*{_DEVICE}[\w\s]{{0,14}}에서 ?(?:보냄|보냈습니다|발송됨|전송됨)"
    rf"|[\w\s]{{0,8}}용 outlook ?(?:다운로드|받기|가져오기|얻기)"
    r"|[a-z]{2,12}['’]?(?:um|ım|im|m)?(?:dan|den) gönderildi|i(?:phone|pad)['’]umdan gönderildi"
    r"|[\w\s]{0,12}için outlook['’]u (?:edinin|indirin)"
    r"|i(?:phone|pad)-?(?:omról|ról) küldve|lähetetty i(?:phone|pad)\w*|von meinem(?:/meiner)? [\w .-]{2,40} gesendet"
    r"|yahoo mail\s?: search, organize, conquer)",
    re.IGNORECASE,
)
_DASHES = re.compile(r"[-_=*—–\s]{2,}")


def marked(text: str) -> str:
    """The text with MARK for every line that is exactly `-- `."""
    return re.sub(r"(?m)^--[ \xa0]\r?$", MARK, text)


def unsigned(text: str) -> str:
    """The text without its signature and the lines that a program appended; a mark that begins no signature is `--` again."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if line == MARK and _is_signature(lines[at + 1 :]):
            lines = lines[:at]
            break
    while lines and (not lines[-1].strip() or is_automatic(lines[-1])):
        lines.pop()
    return tidy("\n".join("--" if line == MARK else line for line in lines))


def _is_signature(lines: list[str]) -> bool:
    """A signature is short and asks nothing; what is longer was written by the person."""
    written = [line for line in lines if line.strip()]
    asks = any(line.rstrip().endswith(("?", "？")) for line in written)
    return len(written) <= _SIGNATURE_LINES and sum(map(len, written)) <= _SIGNATURE_CHARACTERS and not asks


def is_automatic(line: str) -> bool:
    """Whether the whole line is a program's ("Sent from my iPhone", "发自我的iPhone", "Get Outlook for iOS")."""
    bare = " ".join(_LINK.sub(" ", line[:_LINE_CAP]).strip("*_()[]<>|.。 \t").split())
    if not bare or len(line) > _LINE_CAP:
        return False
    if _WHOLE.fullmatch(bare):
        return True
    begun = _BEGINNING.match(bare)
    if not begun:
        return False
    things = 0
    for word in bare[begun.end() :].replace(",", " ").replace("-", " ").split():
        known = _WORDS.fullmatch(word.strip(".:;()[]\"'“”"))
        if not known:
            return False
        things += known["thing"] is not None
    return things > 0
