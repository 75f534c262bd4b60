# ruff: noqa: RUF001 - several scripts are this module's business
"""The built-in model's fixed texts: its introduction and its questions, and the guide it quotes."""

from __future__ import annotations

PHRASES: dict[str, dict[str, str]] = {
    "en": {
        "intro": "This is signalbox-extractive, the built-in model. No AI provider is connected, "
        "so I write nothing of my own: I pick out what has been said.",
        "topics": "Topics:",
        "sentences": "The sentences that matter most:",
        "guide": "From the guide of this program:",
        "end": "That is everything I have to draw from.",
    },
    "de": {
        "intro": "Hier antwortet signalbox-extractive, das eingebaute Modell. Kein KI-Anbieter ist "
        "angeschlossen, darum schreibe ich nichts Eigenes: Ich suche heraus, was gesagt wurde.",
        "topics": "Themen:",
        "sentences": "Die wichtigsten Sätze:",
        "guide": "Aus der Anleitung dieses Programms (auf Englisch):",
        "end": "Mehr steht mir nicht zur Verfügung.",
    },
    "fr": {
        "intro": "Ici signalbox-extractive, le modèle intégré. Aucun fournisseur d'IA n'est "
        "connecté : je n'écris rien moi-même, je relève ce qui a été dit.",
        "topics": "Sujets :",
        "sentences": "Les phrases les plus importantes :",
        "guide": "Extrait du guide de ce programme (en anglais) :",
        "end": "Je n'ai pas d'autre matière.",
    },
    "es": {
        "intro": "Responde signalbox-extractive, el modelo incorporado. No hay ningún proveedor de "
        "IA conectado, así que no escribo nada propio: destaco lo que se ha dicho.",
        "topics": "Temas:",
        "sentences": "Las frases más importantes:",
        "guide": "De la guía de este programa (en inglés):",
        "end": "No tengo más material.",
    },
    "it": {
        "intro": "Risponde signalbox-extractive, il modello incorporato. Nessun fornitore di IA è "
        "collegato, perciò non scrivo nulla di mio: scelgo ciò che è stato detto.",
        "topics": "Argomenti:",
        "sentences": "Le frasi più importanti:",
        "guide": "Dalla guida di questo programma (in inglese):",
        "end": "Non ho altro materiale.",
    },
    "pt": {
        "intro": "Responde signalbox-extractive, o modelo embutido. Nenhum fornecedor de IA está "
        "ligado, por isso não escrevo nada de meu: destaco o que foi dito.",
        "topics": "Assuntos:",
        "sentences": "As frases mais importantes:",
        "guide": "Do guia deste programa (em inglês):",
        "end": "Não tenho mais material.",
    },
    "ru": {
        "intro": "Отвечает signalbox-extractive, встроенная модель. Ни один поставщик ИИ не "
        "подключён, поэтому я ничего не сочиняю: я выбираю из сказанного.",
        "topics": "Темы:",
        "sentences": "Самые важные предложения:",
        "guide": "Из руководства этой программы (на английском):",
        "end": "Больше мне взять неоткуда.",
    },
}

# What a user may ask next: {0} is a topic of the conversation, {1} another one.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "en": (
        "Can you tell me more about {0}?",
        "How are {0} and {1} connected?",
        "What should I do first about {1}?",
    ),
    "de": (
        "Kannst du mir mehr über {0} sagen?",
        "Wie hängen {0} und {1} zusammen?",
        "Womit fange ich bei {1} am besten an?",
    ),
    "fr": (
        "Peux-tu m'en dire plus sur {0} ?",
        "Quel est le lien entre {0} et {1} ?",
        "Par quoi commencer pour {1} ?",
    ),
    "es": (
        "¿Puedes contarme más sobre {0}?",
        "¿Qué relación hay entre {0} y {1}?",
        "¿Por dónde empiezo con {1}?",
    ),
    "it": (
        "Puoi dirmi di più su {0}?",
        "Che rapporto c'è tra {0} e {1}?",
        "Da dove comincio con {1}?",
    ),
    "pt": (
        "Podes contar-me mais sobre {0}?",
        "Qual é a relação entre {0} e {1}?",
        "Por onde começo com {1}?",
    ),
    "ru": (
        "Можно подробнее: {0}?",
        "Как связаны {0} и {1}?",
        "С чего начать: {1}?",
    ),
}

_GUIDE = """
To get real answers, set OPENAI_API_BASE_URL to the address of any OpenAI-compatible provider,
OPENAI_API_KEY to its key, and start the program again.

A server on your own machine works as well: give its address and set OPENAI_API_TYPE to local.

Several providers are separated by semicolons, and each one's models appear in the list.

Every answer is a background task: it runs in a worker, not in the web server, and its words
travel to every browser tab that watches it.

Press Stop at any moment, in this tab, in another one, or in a terminal; the task is cancelled,
the provider's connection is closed, and the text so far is kept.

In a terminal, manage.py tasks list shows what is running, manage.py tasks tail follows the words
of a task, and manage.py tasks stop ends it.

If a worker is killed in the middle, another one starts the task again as soon as its lease has
run out, and the task still ends only once.

If your browser loses its connection, it comes back by itself and goes on at the word where it was
interrupted.

Programs use the same tasks over HTTP: an OpenAI client pointed at /api/v1 works, streaming
included, with a token made by manage.py createtoken.

With the header Prefer: respond-async the answer is made in the background, and the reply names
the address where it will be found.

The events of a task can be read as server-sent events, and the header Last-Event-ID resumes them
without loss or repetition.

Administrators see all tasks live in the admin, with their arguments, output and errors, and can
stop or retry them there.

More workers may be started at any time, on this machine or on others: they share the queue
through Redis.

In /documents several people edit one text at the same time, and see each other's cursors.
"""
GUIDE = [" ".join(part.split()) for part in _GUIDE.split("\n\n")]
