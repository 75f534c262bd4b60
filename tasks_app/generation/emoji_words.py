# ruff: noqa: E501, RUF001 - a table, one line each, in several scripts
"""Which emoji stands for which words: beginnings of words, in the built-in model's languages."""

from __future__ import annotations

from collections import Counter

from tasks_app.generation.stopwords import WORD

# One line each: the emoji, then beginnings of words (of at least four letters, or whole words).
_TABLE = """
🎉 party birthday celebrat congrat feier geburtstag glückwunsch fête anniversaire félicit fiesta cumpleaños felicidad festa compleanno auguri aniversário parabéns праздник поздравля рождени
❤️ love liebe lieb amour aime amor quiero amore amo любовь люблю
😂 funny joke laugh lustig witz lachen drôle blague rire gracios chiste divertente scherzo ridere piada engraçad смешн шутк
😢 sad cry miss traurig weinen vermisse triste pleure llorar piangere chorar грустн плачу
😡 angry annoy hate wütend ärger nervt colère énerv enojad enfad arrabbiat raiva зол ненавижу
😴 sleep tired night schlaf müde nacht dormir fatigu sommeil cansad sueño dormire stanco sono спать устал сон
🤒 sick fever doctor illness krank fieber arzt malade fièvre médecin enferm fiebre médic malat febbre medico doente болен врач температура
🙏 thank danke dank merci gracias grazie obrigad спасибо благодар
👋 hello goodbye welcome hallo willkommen tschüss bonjour salut bienvenue hola adiós bienvenid ciao benvenut olá привет здравствуй
🍅 tomato tomate tomates pomodor помидор томат
🌱 garden plant seed grow gemüse garten pflanz samen jardin plante graine jardín planta semilla giardino piant seme jardim semente растени сад огород
🍳 cook recipe kitchen kochen koch rezept küche cuisin recette cocin receta cucin ricetta cozinh готовить рецепт кухн
🍞 bread bake brot backen sauerteig pain boulang pane hornear panader pão хлеб печь выпе
🍕 pizza
☕ coffee kaffee café caffè кофе
🍷 wine wein vino vinho вино
🍺 beer bier bière cerveza birra cerveja пиво
🎂 cake kuchen torte gâteau pastel torta bolo торт
✈️ travel flight trip vacation holiday reise flug urlaub voyage vacances viaje vuelo vacaciones viaggio volo vacanz viagem voo férias путешеств поездк отпуск полет
🚗 car drive auto fahren voiture conduire coche carro macchina guidare машин автомобил
🚆 train railway signal bahn zug gleis tren ferrocarril treno ferrovi trem comboio поезд железн
🚲 bicycle bike cycling fahrrad vélo bicicleta bicicletta велосипед
🏠 house home flat apartment haus wohnung maison appartement casa piso apartamento квартир дом
🌧️ rain regen pluie lluvia pioggia chuva дождь
☀️ sun sunny summer sonne sommer soleil été verano sole estate verão солнц лето
❄️ snow winter cold schnee kalt neige hiver froid nieve invierno frío neve inverno freddo frio снег зима холод
🌊 ocean wave beach meer strand welle plage vague playa spiaggia onda praia море пляж волн
⛰️ mountain hike climb berg wandern montagne randonn montaña monte montanha гора горы поход
🐶 dog puppy hund chien perro cane cachorro собак щенок
🐱 cat kitten katze chat gato gatto кошк кот
🐦 bird vogel oiseau pájaro uccello pássaro птиц
💻 code program software computer python javascript programmier ordinateur logiciel ordenador programa код програм компьютер
🐛 bug error exception crash fehler absturz erreur errore erro ошибк
🤖 robot machine künstliche chatgpt robô робот нейросет
📊 data chart statistic table daten diagramm tabelle données graphique datos gráfico dati grafico dados данн таблиц
📈 stock invest growth aktie wachstum bourse croissance bolsa inversión azioni borsa акци инвест
💰 money price salary budget geld preis gehalt argent prix dinero precio soldi prezzo denaro dinheiro preço деньги цена зарплат
💼 job work office interview bewerbung arbeit büro travail bureau emploi trabajo oficina empleo lavoro ufficio trabalho emprego работа офис
📅 meeting calendar appointment schedule termin kalender rendez réunion cita reunión calendario riunione appuntamento reunião встреч календар
📚 book read study learn buch lesen lernen livre lire apprendre libro leer aprender leggere imparare livro книг читать учить
🎓 university exam degree universität prüfung examen université universidad esame università universidade exame экзамен университет
🧮 math equation calculate mathe gleichung rechnen calcul matemát ecuación matematic equazione математик уравнени
🔬 science experiment physics chemistry wissenschaft physik chemie science physique chimie ciencia física química scienza fisica chimica ciência наука физик хими
🎵 music song guitar piano musik lied gitarre musique chanson guitare música canción guitarra musica canzone chitarra музык песн гитар
🎬 movie film cinema kino película cine filme фильм кино
🎨 paint draw picture malen zeichn bild peindre dessin pintar dibuj dipingere disegn desenh рисова картин
🎮 game gaming spiel jeu juego videojuego gioco jogo игра
⚽ football soccer fußball fútbol calcio futebol футбол
💪 fitness workout training muskel sport entrenamiento músculo allenamento muscolo treino спорт трениров
🗳️ election vote politic wahl politik élection élect eleccion voto elezion eleiç выбор политик
⚖️ legal lawyer court gesetz recht anwalt gericht avocat juge abogado juez avvocato legge advogado закон юрист суд
🔒 password security privacy passwort sicherheit sécurité contraseña seguridad sicurezza senha segurança парол безопасн
📧 email mail letter brief courriel lettre correo carta lettera письмо
📱 phone telefon handy téléphone teléfono móvil telefono celular телефон
🌍 world earth climate welt erde klima monde terre climat mundo tierra clima mondo terra мир земл климат
🎁 gift present geschenk cadeau regalo presente подарок
💡 idea suggest idee vorschlag idée sugerencia suggeriment ideia иде предлож
❓ question frage pregunta domanda pergunta вопрос
"""
_SHORTEST_BEGINNING = 4
_ROWS = [line.split() for line in _TABLE.strip().splitlines()]
_EMOJI_OF = {word: row[0] for row in reversed(_ROWS) for word in row[1:]}
_LONGEST = max(map(len, _EMOJI_OF))


def emoji_for(text: str) -> str | None:
    """Return the emoji that most words of the text call for, the earliest on a tie."""
    found = (_emoji_of(word) for word in WORD.findall(text[:20_000].lower()))
    counts = Counter(emoji for emoji in found if emoji)
    return counts.most_common(1)[0][0] if counts else None


def _emoji_of(word: str) -> str | None:
    if word in _EMOJI_OF:
        return _EMOJI_OF[word]
    sizes = range(min(len(word), _LONGEST), _SHORTEST_BEGINNING - 1, -1)
    beginnings = (word[:size] for size in sizes)
    return next((_EMOJI_OF[begun] for begun in beginnings if begun in _EMOJI_OF), None)
