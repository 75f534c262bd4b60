# ruff: noqa: RUF001 - several scripts are this module's business
"""Words that carry grammar, not topic, by language; they also tell which language a text is in."""

from __future__ import annotations

import re
from collections import Counter


def small_words(text: str) -> frozenset[str]:
    """Return the words of a text that lists some."""
    return frozenset(text.split())


STOP_WORDS: dict[str, frozenset[str]] = {
    "en": small_words(
        """a about above after again all also am an and any are aren as at be because been before
        being below between both but by can cannot could couldn did didn do does doesn doing don
        down during each else even every few for from further get got had has have having he her
        here hers him his how i if in into is isn it its itself just let like ll may me might mine
        more most much must my need no nor not now of off on once one only or other our ours out
        over own per please re really same shall she should shouldn since so some still such than
        thank thanks that the their them then there these they thing things this those through to
        too under until up us use using very want was wasn way we well were what when where which
        while who whom whose why will with within without won would yes yet you your yours
        hi hello hey dear okay ok sure"""
    ),
    "de": small_words(
        """aber alle allem allen aller alles als also am an andere anderen anderer anderes auch auf
        aus bei beim bin bis bist bitte da dabei dafür damit danach dann daran darauf darum das
        dass davon dazu dein deine dem den denn der des deshalb die dies diese diesem diesen dieser
        dieses doch dort du durch eben ein eine einem einen einer eines einfach einige er es etwa
        etwas euch euer für gar gegen geht genau gerade gern gibt ganz hab habe haben hat hatte
        hatten her hier hin ich ihm ihn ihnen ihr ihre ihrem ihren im immer in ins ist ja jede
        jedem jeden jeder jedes jetzt kann kannst kein keine keinen können könnte lieber machen
        macht mal man mehr mein meine meinem meinen mich mir mit möchte muss müssen nach nein nicht
        nichts noch nur nun ob oder ohne schon sehr sei sein seine seit sich sie sind so soll
        sollen sollte sollten sondern sonst über um und uns unser unter viel viele vom von vor war
        waren warum was weil weiter welche welchem welchen welcher welches wenn wer werde werden
        wie wieder will wir wird wirklich wo wollen wurde wurden würde zu zum zur zwar zwischen
        danke hallo guten okay lange"""
    ),
    "fr": small_words(
        """afin ai aie ainsi alors au aucun aussi autre autres aux avait avant avec avez avoir avons
        bien bon bonjour car ce ceci cela celle celui ces cet cette chaque chez comme comment
        contre dans de depuis des donc dont du elle elles en encore entre es est et été êtes être
        eu eux faire fait faut il ils j je jusque l la là le les leur leurs lors lui m ma mais me
        même mes moi moins mon n ne ni non nos notre nous on ont ou où par parce pas pendant peu
        peut peux plus pour pourquoi pouvez près puis qu quand que quel quelle quelles quels qui
        quoi s sa salut sans se selon sera ses si son sont sous sur t ta te tes toi ton tous tout
        toute toutes très tu un une vers veux voici voilà vos votre vous y merci oui
        combien faites fais"""
    ),
    "es": small_words(
        """a acá ahí al algo algún alguna algunas algunos allí ante antes aquel aquella aquello aquí
        así aún aunque bien cada casi como cómo con contra cual cuál cuales cualquier cuando cuándo
        cuanto cuánto de del desde donde dónde dos el él ella ellas ellos en entre era eran eres es
        esa esas ese eso esos esta está están estar estas este esto estos estoy fue fueron gracias
        gusta ha hace hacer hacia han has hasta hay he hola incluso ir la las le les lo los más me
        mi mientras mis mismo mucho muy nada ni no nos nosotros nuestra nuestro nunca o os otra
        otro otros para pero poco por porque pues puede puedes puedo que qué quien quién quiero se
        sea según ser si sí sido siempre sin sino sobre solo sólo son soy su sus también tan tanto
        te tengo ti tiene tienen toda todas todo todos tu tú tus un una unas uno unos usted ustedes
        va y ya yo favor hago hacen"""
    ),
    "it": small_words(
        """a ad agli ai al alla alle allo alcuni anche ancora avere aveva bene c che chi ci ciao
        ciascuno cioè come con contro così cosa cui da dagli dai dal dalla dalle dallo degli dei
        del della delle dello dentro deve di dopo dove dunque e è ed era erano essere fa fare fino
        fra già gli grazie ha hai hanno ho i il in infatti io l la le lei li lo loro lui ma mai me
        meglio mentre mi mia mie miei mio molto n ne nei nel nella nelle nello nessuno niente no
        noi non nostra nostro o ogni oppure ora per perché però più poco poi possiamo posso prima
        proprio può qual quale quali quando quanto quella quelle quelli quello questa queste questi
        questo qui quindi se sei sempre senza si sì sia siamo siete sono sopra sotto sta stata
        stato su sua sue sui sul sulla sulle suo suoi te ti tra troppo tu tua tue tuo tutte tutti
        tutto un una uno vi voglio voi vorrei vostra vostro faccio"""
    ),
    "pt": small_words(
        """a à às ao aos aí algo alguém algum alguma algumas alguns ali ainda antes aquela aquele
        aquilo as assim até bem bom cada como contra da das de dela dele deles depois desde dessa
        desse desta deste dia do dos e é ela elas ele eles em entre era eram essa esse esta está
        estão estar estava este estou eu favor faz fazer foi foram gosto há isso isto já lá lhe
        mais mas me menos mesmo meu meus minha minhas muita muito muitos na não nas nem nenhum no
        nos nós nossa nosso num numa nunca o obrigada obrigado oi olá onde os ou outra outras outro
        outros para pela pelo per pode podem poder posso pois por porque porquê pouco pra qual
        quais qualquer quando quanto que quem quero se seja sem sempre ser será seu seus sim sob
        sobre sou sua suas também tão tem têm tenho ter teu tua tudo um uma uns umas vai vamos você
        vocês vou gostaria queria preciso faço
        todo todos toda todas"""
    ),
    "ru": small_words(
        """а бы был была были было быть в вам вас ваш весь во вот все всё всего всех вы где говорить
        да даже для до должен другой его ее её если есть еще ещё же за здесь здравствуйте и из или
        им их к каждый как какая какие какой когда которая которые который кто ли лучше мне много
        могу можете может можно мой мы на над надо нам нас наш не него нее неё нет ни них но ну о
        об один он она они оно от очень перед по под пожалуйста после потом потому почему при про
        привет раз с сам свой себя сейчас сколько со спасибо так также такой там тебе тебя тем то
        тогда того тоже только том ты у уже хорошо хочу чего чем через что чтобы эта эти это этого
        этой этом этот я"""
    ),
}
ALL_STOP_WORDS = frozenset().union(*STOP_WORDS.values())
WORD = re.compile(r"[^\W_]+")
# Chinese, Japanese and Korean letters: written without spaces, so pairs of them stand for words.
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")

# Letters of Chinese grammar and politeness; Japanese grammar is written in hiragana.
CJK_SMALL = re.compile(
    r"[\u3040-\u309f的了是在我你他她它们们这那有和与也都就不很吗呢吧啊把被从对给让请问怎么何什一个您好谢]"
)


# What tells a language from its relatives, whose small words it shares: letters only it has.
_OWN_LETTERS = {
    "de": re.compile(r"[äöüß]"),
    "fr": re.compile(r"[çœêèàûî]"),
    "es": re.compile(r"[ñ¿¡]"),
    "pt": re.compile(r"[ãõ]"),
}


def language_of(text: str) -> str:
    """Return the language whose small words are most frequent in the text; English when unsure."""
    counts = Counter(word.lower() for word in WORD.findall(text[:20_000]))
    scores = {
        language: float(sum(counts[word] for word in words))
        for language, words in STOP_WORDS.items()
    }
    for language, letters in _OWN_LETTERS.items():
        scores[language] += 0.5 * min(len(letters.findall(text[:2_000].lower())), 4)
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > scores["en"] else "en"
