import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, testWith } from "./support.ts";

const OUT_OF_MEMORY = 0x40;
const RENDER = 4;
const TRUETYPE = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

const freetype = load("libfreetype.so.6", {
  FT_Init_FreeType: { parameters: ["buffer"], result: "i32" },
  FT_Done_FreeType: { parameters: ["pointer"], result: "i32" },
  FT_New_Library: { parameters: ["pointer", "buffer"], result: "i32" },
  FT_Add_Default_Modules: { parameters: ["pointer"], result: "void" },
  FT_Done_Library: { parameters: ["pointer"], result: "i32" },
  FT_New_Memory_Face: { parameters: ["pointer", "buffer", "isize", "isize", "buffer"], result: "i32" },
  FT_Done_Face: { parameters: ["pointer"], result: "i32" },
  FT_Set_Pixel_Sizes: { parameters: ["pointer", "u32", "u32"], result: "i32" },
  FT_Load_Char: { parameters: ["pointer", "usize", "i32"], result: "i32" },
});
const native = freetype.symbols;

/** A bitmap font of 90 letters, in the text form that FreeType reads. */
function bitmapFont(): Uint8Array<ArrayBuffer> {
  const glyphs = Array.from({ length: 90 }, (_, i) => {
    const rows = Array.from(
      { length: 16 },
      (_, row) => ((i + 33) * (row + 1) * 37 & 0xff).toString(16).padStart(2, "0"),
    );
    return [`STARTCHAR c${i}`, `ENCODING ${i + 33}`, "SWIDTH 500 0", "DWIDTH 8 0", "BBX 8 16 0 -2", "BITMAP"]
      .concat(rows, "ENDCHAR").join("\n");
  });
  return new TextEncoder().encode(
    `STARTFONT 2.1
FONT -test-test-medium-r-normal--16-160-75-75-c-80-iso10646-1
SIZE 16 75 75
FONTBOUNDINGBOX 8 16 0 -2
STARTPROPERTIES 5
PIXEL_SIZE 16
FONT_ASCENT 14
FONT_DESCENT 2
CHARSET_REGISTRY "ISO10646"
CHARSET_ENCODING "1"
ENDPROPERTIES
CHARS ${glyphs.length}
${glyphs.join("\n")}
ENDFONT
`,
  );
}

/** Calls a function that writes a pointer through its last argument. */
function outPointer(call: (out: BigUint64Array<ArrayBuffer>) => number): { error: number; pointer: Deno.PointerValue } {
  const out = new BigUint64Array(1);
  const error = call(out);
  return { error, pointer: Deno.UnsafePointer.create(out[0]) };
}

const newLibrary = (scratch: BumpAlloc) => {
  const made = outPointer((out) => native.FT_New_Library(scratch.hooks.freetype.memory, out));
  if (made.error === 0) native.FT_Add_Default_Modules(made.pointer);
  return made;
};

const openFace = (library: Deno.PointerValue, font: Uint8Array<ArrayBuffer>) =>
  outPointer((out) => native.FT_New_Memory_Face(library, font, BigInt(font.length), 0n, out));

/** The pixels of all letters at some sizes, and where the first bitmap was. */
function render(face: Deno.PointerValue, sizes: number[]): { pixels: string[]; first: bigint; error: number } {
  const pixels: string[] = [];
  let first = 0n;
  for (const size of sizes) {
    const set = native.FT_Set_Pixel_Sizes(face, 0, size);
    if (set !== 0) return { pixels, first, error: set };
    for (let letter = 33; letter < 123; letter++) {
      const error = native.FT_Load_Char(face, BigInt(letter), RENDER);
      if (error !== 0) return { pixels, first, error };
      const slot = new Deno.UnsafePointerView(new Deno.UnsafePointerView(face!).getPointer(152)!);
      const [rows, width, pitch] = [slot.getUint32(152), slot.getUint32(156), slot.getInt32(160)];
      const bits = slot.getPointer(168);
      if (first === 0n) first = Deno.UnsafePointer.value(bits);
      const bytes = new Uint8Array(
        rows * pitch === 0 ? [] : Deno.UnsafePointerView.getArrayBuffer(bits!, rows * pitch),
      );
      pixels.push(`${rows}x${width}: ${bytes.join()}`);
    }
  }
  return { pixels, first, error: 0 };
}

function drawsTheSame(font: Uint8Array<ArrayBuffer>, sizes: number[]): void {
  const plain = outPointer((out) => native.FT_Init_FreeType(out)).pointer;
  const plainFace = openFace(plain, font).pointer;
  const expected = render(plainFace, sizes);
  assertEquals(expected.error, 0);
  assert(new Set(expected.pixels).size > 80);
  native.FT_Done_FreeType(plain);

  using scratch = new BumpAlloc();
  const { pointer: library } = newLibrary(scratch);
  assert(isInside(scratch, library));
  const before = scratch.used;
  const { error, pointer: face } = openFace(library, font);
  assertEquals(error, 0);
  assert(isInside(scratch, face) && scratch.used > before);
  const drawn = render(face, sizes);
  assertEquals(drawn.pixels, expected.pixels);
  assert(isInside(scratch, drawn.first));
  assertEquals(native.FT_Done_Face(face), 0);
  assertEquals(native.FT_Done_Library(library), 0);
}

testWith(freetype, "FreeType: the glyphs of a bitmap font are opened and drawn in an arena", () => {
  drawsTheSame(bitmapFont(), [16]);
});

const truetype = await Deno.readFile(TRUETYPE).catch(() => null);
testWith(
  { missing: freetype.missing ?? (truetype === null ? `${TRUETYPE} is not there` : null) },
  "FreeType: the outlines of a TrueType font are hinted and drawn in an arena",
  () => drawsTheSame(truetype!, [9, 24, 300]),
);

testWith(freetype, "FreeType: a full region is its memory error", () => {
  const font = bitmapFont();
  using scratch = BumpAlloc.withSize(2 ** 20);
  const { pointer: library } = newLibrary(scratch);
  assert(isInside(scratch, library));
  const free = scratch.remaining;
  const needed = (() => {
    using roomy = new BumpAlloc();
    const { pointer } = newLibrary(roomy);
    const before = roomy.used;
    openFace(pointer, font);
    return roomy.used - before;
  })();
  scratch.alloc(free - (needed >> 1)); // room for half of what the face takes
  assertEquals(openFace(library, font).error, OUT_OF_MEMORY);
  native.FT_Done_Library(library);
  scratch.alloc(scratch.remaining);
  assertEquals(newLibrary(scratch).error, 0); // from the blocks of the first
  let error = 0;
  while (error === 0) error = newLibrary(scratch).error;
  assertEquals(error, OUT_OF_MEMORY);
});
