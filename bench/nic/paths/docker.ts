import { plain, veth } from '../../../src/network/segment.ts';
import { macOf } from '../../../src/network/names.ts';
import { containersOf, indices, nameOf } from './containers.ts';
import type { PathSpec } from '../paths.ts';
import { behindGateway } from './plain.ts';

const BRIDGE = 'docker0';
const SEGMENT = '172.17';

/**
 * What dockerd 20.10 lays for its default bridge (`iptables-save` of a host with nothing published; daemon/libnetwork
 * drivers/bridge/setup_ip_tables.go).
 */
const RULES = `*filter
:INPUT ACCEPT
:FORWARD DROP
:OUTPUT ACCEPT
:DOCKER -
:DOCKER-ISOLATION-STAGE-1 -
:DOCKER-ISOLATION-STAGE-2 -
:DOCKER-USER -
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o ${BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o ${BRIDGE} -j DOCKER
-A FORWARD -i ${BRIDGE} ! -o ${BRIDGE} -j ACCEPT
-A FORWARD -i ${BRIDGE} -o ${BRIDGE} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i ${BRIDGE} ! -o ${BRIDGE} -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o ${BRIDGE} -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
:DOCKER -
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s ${SEGMENT}.0.0/16 ! -o ${BRIDGE} -j MASQUERADE
-A DOCKER -i ${BRIDGE} -j RETURN
COMMIT
`;

/** Of FORWARD and what it jumps to, up to the one that accepts what leaves: the five of it, and five behind its jumps. */
const RULES_PASSED = 10;

/** A veth, a bridge, Docker's FORWARD chains by iptables, connection tracking, MASQUERADE. */
export const dockerPath: PathSpec = {
  name: 'docker-nat',
  foreign: { rules: RULES, passed: RULES_PASSED, translates: true },
  picture: (count, { sink }) => {
    const all = indices(count);
    return {
      namespaces: all.map(nameOf),
      links: [
        {
          namespace: '',
          name: BRIDGE,
          kind: { type: 'bridge' },
          settings: { ...plain(1500), mac: macOf(BRIDGE), forwarding: true },
          why: "Docker's default bridge",
        },
        ...all.flatMap((index) =>
          veth(
            {
              namespace: nameOf(index),
              link: 'eth0',
              mac: macOf(nameOf(index)),
              port: `veth${index}`,
              alias: '',
              mtu: 1500,
              why: `container c${index}`,
            },
            { master: BRIDGE },
          ),
        ),
      ],
      entries: [
        { kind: 'address', namespace: '', link: BRIDGE, prefix: `${SEGMENT}.0.1/16` },
        ...all.flatMap((index) => behindGateway(nameOf(index), `${SEGMENT}.0.${index + 2}/16`, `${SEGMENT}.0.1`)),
      ],
      elements: [],
      objects: [],
      containers: containersOf(count, { sink }),
    };
  },
};
