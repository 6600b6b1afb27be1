"""What stands in the PDFs of `benchmarks.pdf_set`: the source texts, which no PDF library has touched."""

from typing import Final

ENGLISH: Final = (
    (
        "The harbour office keeps a book of every vessel that asks for a berth, with the hour of its arrival and the "
        "name of whoever speaks for it. A clerk who finds an entry difficult to read sends it back the same afternoon."
    ),
    (
        "Of the affluent merchants who financed the first breakwater, five were fined for flooding the fish market: "
        "the official figures fill a flimsy file that nobody has opened since the great fire of 1873."
    ),
    (
        "Each berth has its own meter. Between 22:00 and 06:00 electricity costs 0.19 crowns a kilowatt hour, and "
        "during the day 0.31; water is free, except for washing decks, which is not allowed from June to August."
    ),
    (
        "Storm warnings are hoisted on the mast by the fuel pontoon. Two black balls mean that a gale is expected within "
        "twelve hours, and that all vessels shorter than eight metres should double their lines and close their hatches."
    ),
    (
        "Whoever leaves for longer than a week tells the office where a key can be found. Offices in other harbours "
        "accept the same form, so that a skipper fills it in once a season and carries a copy in the ship's papers."
    ),
    (
        "Complaints are answered within ten working days. If an answer does not satisfy you, the council of the harbour "
        "hears both sides in public on the first Tuesday of the month; its findings are final and are filed for good."
    ),
)
GERMAN: Final = (
    (
        "Die Hafenmeisterei führt ein Buch über alle Schiffe, die um einen Liegeplatz bitten. Größere Fahrzeuge müssen "
        "sich zwölf Stunden vor der Ankunft anmelden, kleinere dürfen außerhalb der Öffnungszeiten frei anlegen."
    ),
    (
        "Die Gebühren für Übernachtungsgäste ändern sich jährlich; maßgeblich ist der Aushang am Kassenhäuschen. "
        "Ermäßigungen für Jugendliche, Schüler und Segelvereine gewährt das Büro auf schriftlichen Antrag."
    ),
)
FRENCH: Final = (
    (
        "Le bureau du port tient un registre de tous les navires qui demandent une place à quai. L’été, les arrivées "
        "après 21 heures se font à l’ancre, et le gardien vient vérifier les papiers dès l’aube."
    ),
    (
        "Où que vous soyez amarrés, ça ne coûte rien de demander conseil : les pêcheurs connaissent mieux que personne "
        "les hauts-fonds, les courants et les caprices du vent d’ouest près du phare."
    ),
)
GREEK: Final = (
    (
        "Το γραφείο του λιμανιού κρατά βιβλίο για κάθε σκάφος που ζητά θέση. Οι τιμές αλλάζουν κάθε χρόνο και "
        "αναρτώνται δίπλα στην είσοδο."
    ),
    "Порт открыт круглый год. Зимой вода и электричество отключаются на дальнем причале, о чём сообщают за неделю.",
)
HEBREW: Final = (
    "משרד הנמל מנהל ספר של כל הספינות המבקשות מקום עגינה.",
    "הדלק נמכר בכל יום חוץ משבת, ומחירו כתוב על הלוח.",
    "מי שעוזב ליותר משבוע משאיר מפתח במשרד.",
)
ARABIC: Final = (
    "يحتفظ مكتب الميناء بسجل لكل سفينة تطلب مكانا للرسو.",
    "يباع الوقود كل يوم ما عدا يوم الجمعة.",
    "من يغادر أكثر من أسبوع يترك مفتاحا في المكتب.",
)
TABLE: Final = (
    ("Berth", "Length", "Price", "Remarks"),
    ("North 1", "8 m", "25.00", "water and electricity"),
    ("North 2", "10 m", "31.50", "water only"),
    ("South 1", "12 m", "38.00", "closed in winter"),
    ("South 2", "14 m", "44.50", "for members"),
)
# Lines as a typesetter divided them, and the same text undivided.
DIVIDED: Final = (
    "The reimbursement of harbour dues follows the rules of the union. Who-",
    "ever asks for reimburse-",
    "ment writes to the office, which answers all correspondence. The corre-",
    "spondence is kept for ten years. A self-",
    "made form is accepted if it names the vessel, and the self-made stamps of",
    "clubs are accepted too. Whoever has paid twice is paid back.",
)
UNDIVIDED: Final = (
    "The reimbursement of harbour dues follows the rules of the union. Whoever asks for reimbursement writes to the "
    "office, which answers all correspondence. The correspondence is kept for ten years. A self-made form is "
    "accepted if it names the vessel, and the self-made stamps of clubs are accepted too. Whoever has paid twice is "
    "paid back."
)
