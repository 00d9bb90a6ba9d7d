import { describe, expect, test } from 'vitest';
import { GIB, MIB } from '../../../src/host/units.ts';
import { ScenarioError } from '../../../src/scenario/errors.ts';
import { readScenario, scenarioOf } from '../../../src/scenario/load.ts';
import { policiesOf, withPolicies } from '../../../src/scenario/policy.ts';
import type { Scenario } from '../../../src/scenario/scenario.ts';
import { GOOD, rules } from './rules.ts';

const read = (text: string): Scenario => readScenario(text, 'a.yaml', rules);
const without = (line: string): string => {
  if (!GOOD.includes(line)) throw new Error(`the test means a line that is not there: ${line}`);
  return GOOD.replace(line, '');
};
const instead = (from: string, to: string): string => {
  if (!GOOD.includes(from)) throw new Error(`the test means text that is not there: ${from}`);
  return GOOD.replace(from, to);
};

function problemOf(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ScenarioError) return error.message;
    throw error;
  }
  throw new Error('it was read without a problem');
}

describe('a scenario file', () => {
  test('becomes what the engine takes', () => {
    const scenario = read(GOOD);
    expect(scenario).toMatchObject({ title: 'A test', seed: 1, backends: ['sim', 'linux'], endMs: 3000 });
    expect(scenario.hosts).toMatchObject([
      {
        name: 'host',
        ramBytes: 16 * GIB,
        memory: { policy: { name: 'gaia' }, dry: false, line: { killAtBytes: 105 * MIB } },
      },
    ]);
    expect(scenario.containers).toMatchObject([
      { name: 'web', host: 'host', requestBytes: 40 * MIB, fromBeginning: true },
      {
        name: 'late',
        fromBeginning: false,
        workload: { memory: { kind: 'leak', from: MIB, bytesPerSecond: 2 * MIB } },
      },
    ]);
    expect(scenario.timeline).toEqual([
      { atMs: 1000, action: { kind: 'start', container: 'late' }, mayBeRefused: false },
      { atMs: 2000, action: { kind: 'request', container: 'web', requestBytes: 50 * MIB }, mayBeRefused: false },
    ]);
  });

  test('is read again from what a recording keeps of it', () => {
    const first = read(GOOD);
    const again = scenarioOf(JSON.parse(JSON.stringify(first.written)), 'a.yaml', rules);
    expect(again).toEqual(first);
  });

  test('reads every workload', () => {
    const workloads = [
      'ramp: { from: 1Mi, to: 2Mi, over: 3s }',
      'sawtooth: { low: 1Mi, high: 2Mi, period: 1s }',
      'burst: { base: 1Mi, peak: 2Mi, at: 1s, rise: 10ms, hold: 1s, every: 3s }',
      'trace: [[0s, 1Mi], [1s, 2Mi]], processes: 3, shared: true, endsAfter: 2s',
      'constant: 1Mi, cache: { size: 4Mi, perSecond: 1Mi, activeShare: 0.5 }',
    ];
    const kinds = workloads.map((workload) => read(instead('constant: 30Mi', workload)).containers[0]!.workload);
    expect(kinds).toEqual([
      { memory: { kind: 'ramp', from: MIB, to: 2 * MIB, startMs: 0, overMs: 3000 } },
      { memory: { kind: 'sawtooth', low: MIB, high: 2 * MIB, periodMs: 1000 } },
      { memory: { kind: 'burst', base: MIB, peak: 2 * MIB, atMs: 1000, riseMs: 10, holdMs: 1000, everyMs: 3000 } },
      {
        memory: {
          kind: 'trace',
          points: [
            [0, MIB],
            [1000, 2 * MIB],
          ],
        },
        processes: 3,
        shared: true,
        endsAfterMs: 2000,
      },
      { memory: { kind: 'constant', bytes: MIB }, cache: { bytes: 4 * MIB, bytesPerSecond: MIB, activeShare: 0.5 } },
    ]);
  });

  test('lets a host and the timeline change single settings of memory', () => {
    const scenario = read(
      instead('containers:', 'hosts: { only: { ram: 8Gi, memory: { killAt: 1 } } }\ncontainers:').replace(
        '{ at: 1s, do: { start: late } }',
        '{ at: 1s, do: { start: late } }\n  - { at: 1500ms, do: { memory: { hardLimit: 200Mi, policy: kernel } } }',
      ),
    );
    expect(scenario.hosts[0]).toMatchObject({ ramBytes: 8 * GIB, memory: { line: { killAtBytes: 100 * MIB } } });
    expect(scenario.timeline[1]!.action).toMatchObject({
      kind: 'memory',
      memory: { policy: { name: 'kernel' }, line: { hardLimitBytes: 200 * MIB, killAtBytes: 200 * MIB } },
    });
    expect(policiesOf(scenario).map(({ name }) => name)).toEqual(['gaia', 'kernel']);
    expect(policiesOf(withPolicies(scenario, () => ({ name: 'hard-limit' })))).toEqual([{ name: 'hard-limit' }]);
  });

  test('may name a policy of its own by a file', () => {
    expect(read(instead('policy: gaia', 'policy: ./own/mine.ts')).hosts[0]!.memory.policy).toEqual({
      name: 'mine',
      file: './own/mine.ts',
    });
  });

  test('takes the real machine for every host', () => {
    const small = () => readScenario(GOOD, 'a.yaml', { ...rules, machineRamBytes: 600 * MIB });
    expect(small).toThrow(/no ceiling fits above killAt/);
  });
});

describe('what is wrong with a scenario file is told in one line, with its line and what to do', () => {
  test.each([
    [
      'an unknown key',
      instead('hardLimit', 'hardLimt'),
      'a.yaml:5: memory: unknown key "hardLimt": did you mean "hardLimit"?',
    ],
    ['an unknown top key', instead('title', 'titel'), 'a.yaml:1: unknown key "titel": did you mean "title"?'],
    ['a missing key', without('why: To be made wrong.\n'), 'a.yaml:1: why: it is missing: a text is wanted'],
    [
      'a wrong unit',
      instead('40Mi', '40Mx'),
      'a.yaml:9: containers.web.request: "40Mx" is not a size: write 512Mi, 2Gi or 4096 (bytes)',
    ],
    [
      'a negative size',
      instead('40Mi', '-40Mi'),
      'a.yaml:9: containers.web.request: -40Mi is negative: a size is 0 or more',
    ],
    [
      'an absurd size',
      instead('40Mi', '4Pi'),
      'a.yaml:9: containers.web.request: 4Pi is 4.00 PiB, more than any machine has: write 512Mi or 2Gi',
    ],
    [
      'an enormous size',
      instead('40Mi', '99999Pi'),
      'a.yaml:9: containers.web.request: "99999Pi" is too large for a size',
    ],
    [
      'a request over the RAM',
      instead('40Mi', '40Gi'),
      "a.yaml:9: a request of 40.0 GiB is more than its host's RAM of 16.0 GiB: lower it",
    ],
    [
      'a duration without unit',
      instead('at: 3s', 'at: 3'),
      'a.yaml:17: timeline.2.at: 3 has no unit: write 250ms, 5s, 10m or 24h',
    ],
    ...['tasks', 'cgroup.procs', 'memory.limit_in_bytes', 'cpu.hog', 'notify_on_release'].map(
      (file): [string, string, string] => [
        `a container called ${file}, as the kernel calls a file`,
        instead('late:', `${file}:`),
        `a.yaml:11: containers.${file}: the kernel has files of such names in every cgroup: choose another name`,
      ],
    ),
    [
      'a container called __proto__, which no map can hold',
      instead('late:', '__proto__:'),
      'a.yaml:11: containers.__proto__: not usable as a name: letters, digits, "-", "_" and "." inside, at most 63',
    ],
    ['a container named twice', instead('late:', 'web:'), 'a.yaml:11: "web" is there twice: name each once'],
    [
      'a timeline that refers to nothing',
      instead('start: late', 'start: lat'),
      'a.yaml:15: there is no container "lat": did you mean "late"?',
    ],
    [
      'a request of nobody',
      instead('container: web', 'container: wev'),
      'a.yaml:16: there is no container "wev": did you mean "web"?',
    ],
    ['a wrong type', instead('killAt: 1.05', 'killAt: much'), 'a.yaml:6: memory.killAt: "much" is not a number'],
    [
      'a policy that is none',
      instead('gaia', 'gaja'),
      'a.yaml:4: there is no policy "gaja": did you mean "gaia"? A file of your own is written ./mine.ts',
    ],
    [
      'a ceiling under killAt',
      instead('killAt: 1.05', 'killAt: 1.2'),
      'a.yaml:6: ceiling 1.1 is not above killAt 1.2: the kernel would act before the supervisor; set killAt below the ceiling',
    ],
    [
      'a start of what is there',
      instead('start: late', 'start: late } }\n  - { at: 1s, do: { start: late'),
      'a.yaml:16: "late" is there already: stop it first',
    ],
    [
      'a stop of what is not',
      instead('start: late', 'stop: late } }\n  - { at: 2s, do: { start: late'),
      'a.yaml:15: "late" is not there at that time: start it first',
    ],
    ['no end', without('  - { at: 3s, do: end }\n'), 'a.yaml:14: the timeline has no end: write { at: 10s, do: end }'],
    [
      'something after the end',
      instead('at: 2s', 'at: 4s'),
      'a.yaml:16: it comes when the scenario has ended: put the end later',
    ],
    [
      'two workloads',
      instead('constant: 30Mi', 'constant: 30Mi, sawtooth: { low: 1Mi, high: 2Mi, period: 1s }'),
      'a.yaml:10: containers.web.workload: a workload is exactly one of constant, ramp, sawtooth, burst, leak, trace; there is "constant" and "sawtooth"',
    ],
    [
      'a misspelt workload',
      instead('constant', 'contsant'),
      'a.yaml:10: containers.web.workload: unknown key "contsant": did you mean "constant"?',
    ],
    [
      'a misspelt action',
      instead('start: late', 'strat: late'),
      'a.yaml:15: timeline.0.do: unknown key "strat": did you mean "start"?',
    ],
    [
      'an expectation of nobody',
      instead('noKills: true', 'killed: [wbe]'),
      'a.yaml:20: there is no container "wbe": did you mean "web"?',
    ],
    ['YAML that does not parse', instead('timeline:', 'timeline: ['), 'a.yaml:15: not readable as YAML'],
    ['an empty file', '  \n', 'a.yaml: the file is empty: write a scenario with title, why, containers, timeline'],
    ['a file of one word', 'hello', 'a.yaml:1: "hello" is not a map'],
    [
      'a fault on no call',
      `${GOOD}faults:\n  - { on: cgroups.limt, do: { fail: EIO } }\n`,
      'a.yaml:22: a fault on "cgroups.limt": there is no such call',
    ],
    [
      'a fault with no errno',
      `${GOOD}faults:\n  - { on: cgroups.limit, do: { fail: EFOO } }\n`,
      'a.yaml:22: faults.0.do.fail: no error that a host gives',
    ],
    [
      'a host that is not there',
      instead('request: 40Mi', 'request: 40Mi\n    host: hosst'),
      'a.yaml:10: there is no host "hosst": did you mean "host"?',
    ],
    [
      'aliases that multiply',
      `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]`,
      'a.yaml: not readable as YAML',
    ],
    ['lists without end', '['.repeat(20_000), 'a.yaml:1: not readable as YAML'],
  ])('%s', (_what, text, message) => {
    expect(problemOf(text).split('\n')[0]).toContain(message);
    expect(problemOf(text).split('\n')).toHaveLength(1);
  });

  test('several faults are several lines, in order', () => {
    const problem = problemOf(
      instead('request: 40Mi', 'request: 40').replace('at: 1s', 'at: 1').replace('hardLimit: 100Mi', 'hardLimit: -1'),
    );
    expect(problem.split('\n').map((line) => line.split(':')[1])).toEqual(['5', '15']);
  });
});
