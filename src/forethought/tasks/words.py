"""The words that functions, texts and questions are made of. Every list is split once more, see `pools`."""

from typing import Final


def each(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


NAMES: Final = each(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Maria Noah Olivia Paul Rosa Sam Tina Victor Wendy"
    " Adam Bella Carl Diana Eric Fiona George Hannah Ivan Julia Kevin Laura Mark Nina Oscar Peter Rachel Simon Tom"
    " Alice Bruno Cora Daniel Eva Frank Gloria Hugo Irene James Karen Lucas Martha Nora Otto Paula Robert Sarah Thomas"
    " Alan Betty Chris Doris Edward Flora Gavin Helen Isaac Jane Keith Linda Max Nancy Owen Pam Ralph Susan Tony Vera"
    " Walter Amy Bob Cindy Dennis Ella Fred Gina Harry Ingrid Joan Kim Lisa Michael Nick Olga Philip Ruth Steve Tara"
    " Arthur Brian Carol Donald Edith Gary Jean Jim John Judy Ken Lily Louis Mary Mike Roger Rose Scott Sophie Tim"
)
CITIES: Final = each(
    "Rome Oslo Paris London Berlin Madrid Vienna Prague Dublin Athens Lisbon Warsaw Boston Chicago Dallas Denver"
    " Houston Miami Seattle Toronto Vancouver Montreal Tokyo Kyoto Delhi Mumbai Beijing Shanghai Sydney Melbourne Cairo"
    " Nairobi Lagos Lima Havana Moscow Milan Venice Naples Florence Geneva Zurich Munich Hamburg Cologne Brussels"
    " Amsterdam Stockholm Helsinki Copenhagen Budapest Istanbul Jerusalem Baghdad Bangkok Jakarta Manila Singapore"
    " Atlanta Phoenix Portland Austin Detroit Orlando Memphis Oxford Cambridge Bristol Leeds Manchester Liverpool"
    " Glasgow Edinburgh Cork Nice Lyon Bordeaux Barcelona Valencia Seville Porto Turin Salzburg Santiago Perth Auckland"
    " Wellington Chennai Karachi Osaka Seoul Hanoi Dakar Tunis Malta Cyprus Quebec Ottawa Calgary Bergen Riga"
)
THINGS: Final = each(
    "table room lamp car chair desk door window garden kitchen bike boat train bus taxi plane ticket parcel letter book"
    " report photo song movie game phone camera printer laptop screen keyboard clock watch ring coat shirt shoe hat bag"
    " box bottle cup plate spoon knife pan stove oven fridge sofa bed pillow blanket carpet mirror vase candle piano"
    " guitar drum violin flute ball racket ski tent rope ladder hammer saw drill nail bolt wheel tire engine battery"
    " cable pump filter fence gate roof wall floor bridge tower tunnel road path field farm barn horse cow sheep goat"
    " dog cat bird fish tree flower rose plant seed apple pear bread cake pizza soup salad cheese tea coffee juice"
    " order account file folder message task meeting course lesson flight hotel museum concert lecture invoice contract"
    " badge banner basket bench blade bowl brush bucket button cabin canoe card cart chain coin crane crate crown"
    " curtain dish dress drawer fan flag glove helmet jacket jar kettle kite lantern lock medal mug napkin notebook"
    " painting pencil poster puzzle quilt radio robot ruler sail scarf shelf shovel sign sink stamp statue stool suit"
    " sword tablet towel toy tractor tray trophy truck trumpet tub umbrella wagon wallet whistle wire yacht"
)
PROPERTIES: Final = each(
    "weather price weight height length width depth age speed temperature population distance size score rank rating"
    " balance budget capacity altitude humidity pressure volume voltage area cost value tax fee rent salary income"
    " profit discount demand supply stock traffic noise rainfall brightness color status owner author address email"
    " birthday deadline schedule menu forecast limit average total count density power level grade version quality"
    " duration delay arrival departure attendance membership turnover strength frequency thickness radius mass"
)
VERBS: Final = each(
    "book order cancel find send paint clean repair print rent sell buy move store check open close wrap label weigh"
    " deliver return reserve inspect measure photograph polish replace register track pack test hide lift heat cool"
    " fold copy share rate review update build load"
)
COLORS: Final = each(
    "red blue green black white brown pink gray gold silver orange purple yellow violet beige ivory copper bronze olive"
    " navy coral cream crimson lilac mint peach plum ruby sand scarlet tan teal turquoise amber indigo"
)
MATERIALS: Final = each(
    "wood steel glass paper cotton leather plastic stone wool silk iron clay rubber marble bamboo brass linen velvet"
    " concrete ceramic aluminum cork felt granite oak pine foam wax lead tin"
)
ADJECTIVES: Final = each(
    "small large heavy light fast slow cheap fancy modern classic soft hard warm cold dry wet quiet loud simple plain"
    " bright dark round square thin thick short tall rough smooth sharp sweet salty sour fresh old new clean rare basic"
    " safe strong weak early late deep flat narrow wide full empty local global daily weekly"
)
FLAGS: Final = each(
    "urgent private fragile optional public secret final temporary shared insured frozen organic digital manual"
    " external internal formal annual reusable portable waterproof certified automatic sealed locked signed verified"
    " archived refundable recurring"
)
MONTHS: Final = ("January", "March", "April", "May", "June", "July", "August", "October", "November", "December")
