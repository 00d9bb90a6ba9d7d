/** Work that lasts longer than this says how far it is. */
const PATIENCE_MS = 2000;

/** Tells how far long work is, on stderr: over one line on a terminal, else a line now and then. */
export function progressOnStderr(stream: NodeJS.WriteStream = process.stderr) {
  let nextMs = performance.now() + PATIENCE_MS;
  let told = false;
  return {
    /** The words are asked for only when it is time for them. */
    say(words: () => string): void {
      if (performance.now() < nextMs) return;
      nextMs = performance.now() + (stream.isTTY ? 200 : PATIENCE_MS);
      told = true;
      stream.write(stream.isTTY ? `\r\u001B[K${words()}` : `${words()}\n`);
    },
    /** Clears the line. */
    end(): void {
      if (told && stream.isTTY) stream.write('\r\u001B[K');
    },
  };
}
