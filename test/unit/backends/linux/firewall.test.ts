import { describe, expect, test } from 'vitest';
import { commentOf, asWritten } from '../../../../backends/linux/nft-comment.ts';
import { fromIpset, ipsetTypeOf, toIpset } from '../../../../backends/linux/ipset.ts';
import { parseFrame, parseRule } from '../../../../backends/linux/rule-text.ts';
import { whyNoValue } from '../../../../src/host/firewall-values.ts';
import { type FirewallField, frameLines, ruleText } from '../../../../src/host/firewall.ts';
import { FRAME } from '../../../../src/network/frame.ts';
import { ODD_FRAME } from '../../../contract/firewall.ts';

describe('the text of a frame', () => {
  test.for([FRAME, ODD_FRAME])('is read back as the frame it was written from', (frame) => {
    const lines = frameLines(frame);
    expect(frameLines(parseFrame(lines)!)).toEqual(lines);
    for (const { rules } of frame.chains) for (const rule of rules) expect(parseRule(ruleText(rule))).toEqual(rule);
  });

  test.for(['inet chain forward: drop', 'inet set a: nosuch', 'inet map a: ip saddr : nosuch', 'anything'])(
    'what is no frame is not taken for one: %s',
    (line) => expect(parseFrame([line])).toBeNull(),
  );
});

describe('what nft leaves out', () => {
  const rule = parseRule('iifname @ports ether type ip ip saddr @natted meta l4proto udp th dport 53 accept')!;
  const comment = '1 ether type ip; 3 meta l4proto udp';

  test('is kept as a comment', () => expect(commentOf(rule)).toBe(comment));

  test('is put back where it was', () => {
    const told = parseRule('iifname @ports ip saddr @natted meta l4proto udp th dport 53 accept')!;
    expect(asWritten(told, comment)).toEqual(rule);
  });

  test.for([
    ['a protocol that is another now', 'iifname @ports ip saddr @natted meta l4proto tcp th dport 53 accept'],
    ['nothing that implies it', 'iifname @ports meta l4proto udp th dport 53 accept'],
  ] as const)('is not believed where there is %s', ([, text]) =>
    expect(asWritten(parseRule(text)!, comment)).toBeNull(),
  );
});

describe('kinds of ipset', () => {
  test.for<readonly [readonly FirewallField[], string, string | null, string]>([
    [['ip saddr'], '10.0.0.0/24', 'hash:net', '10.0.0.0/24'],
    [['iifname'], 'plb-1', 'hash:net,iface', '0.0.0.0/0,plb-1'],
    [['oifname', 'ip daddr'], 'plb-1 . 10.0.0.1', 'hash:net,iface', '10.0.0.1,plb-1'],
    [['ip daddr', 'meta l4proto', 'th dport'], '10.0.0.1 . udp . 53', 'hash:ip,port', '10.0.0.1,udp:53'],
    [['th dport', 'ip daddr', 'meta l4proto'], '53 . 10.0.0.1 . udp', 'hash:ip,port', '10.0.0.1,udp:53'],
    [['iifname', 'oifname'], 'a . b', null, ''],
    [['iifname', 'ether saddr', 'ip saddr'], 'a . 02:70:6c:00:00:01 . 10.0.0.1', null, ''],
  ])('%s', ([fields, key, type, text]) => {
    const set = { family: 'inet', name: 'x', fields, intervals: false } as const;
    const { intervals: _, ...bare } = set;
    expect(ipsetTypeOf(bare)).toBe(type);
    if (type === null) return;
    expect(toIpset(bare, key)).toBe(text);
    expect(fromIpset(bare, text)).toBe(key);
  });
});

test.for([
  ['ipv4_addr', '10.0.0.1/32', 'without its length'],
  ['ipv4_addr', '10.0.0.1/8', 'bits set beyond'],
  ['ifname', 'a:b', 'no link'],
  ['ifname', 'ä'.repeat(8), '1 to 15 bytes'],
  ['ct_state', 'new,old', '"old" is none of'],
  ['inet_proto', '17', 'none of tcp'],
] as const)('no %s: %s', ([type, value, why]) => expect(whyNoValue(type, value, true)).toContain(why));
