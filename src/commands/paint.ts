import { styleText } from 'node:util';
import type { Paint, Role } from '../report/plot.ts';

const STYLE: Record<Role, Parameters<typeof styleText>[0]> = {
  use: 'cyan',
  over: 'yellow',
  line: 'red',
  mark: ['bold', 'red'],
  axis: 'dim',
};

/** Colours where the stream is a terminal that wants them (NO_COLOR, FORCE_COLOR, TERM); plain text elsewhere. */
export const paintFor =
  (stream: NodeJS.WriteStream): Paint =>
  (text, role) =>
    styleText(STYLE[role], text, { stream });
