import {
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdPermissionDeniedError,
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInternalError,
  GRPCNotImplementedError,
  GRPCUnauthenticatedError,
  GRPCUnavailableError,
  GRPCUnknownError,
} from 'etcd3';
import * as z from 'zod';
import { type Errno, HostError } from '../../src/host/errors.ts';

/** Did etcd not answer, so that another member may, or this one later? Anything else is an answer: no. */
export const isNoAnswer = (error: unknown): boolean =>
  error instanceof Error &&
  (NEVER_SENT.test(error.message) || NO_ANSWERS.some((kind) => error instanceof kind)) &&
  !NOT_PERMITTED.test(error.message);

const NO_ANSWERS = [
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInternalError,
  GRPCUnavailableError,
  GRPCUnknownError,
];

/**
 * What says that a call never left, or was not taken on: from grpc-js no connection, no address, or none in time; from
 * etcd itself what it says before it proposes anything (v3rpc/rpctypes/error.go).
 */
const NEVER_SENT =
  /No connection established|Name resolution failed|Waiting for LB pick|etcdserver: (?:no leader|too many requests|not capable)/;

/** May a call that got no answer have been carried out all the same? */
export const mayHaveTakenEffect = (error: unknown): boolean => isNoAnswer(error) && !NEVER_SENT.test(textOf(error));

/** etcd has no code of its own for some of these (v3rpc/rpctypes/error.go). */
const NOT_PERMITTED = /user name is empty|permission denied|invalid auth token|authentication failed|auth: /i;

const ANSWERS: readonly { readonly said: RegExp; readonly code: Errno; readonly remedy: string }[] = [
  { said: NOT_PERMITTED, code: 'EACCES', remedy: "give the name and password of a user who may use the store's keys" },
  {
    said: /too many operations/,
    code: 'EMSGSIZE',
    remedy: 'change fewer keys at once, or start etcd with a larger --max-txn-ops',
  },
  {
    said: /too large|larger than max/,
    code: 'EMSGSIZE',
    remedy: 'change less at once, or start etcd with a larger --max-request-bytes',
  },
  { said: /space exceeded/, code: 'ENOSPC', remedy: 'compact and defragment it, then etcdctl alarm disarm' },
];

/** What etcd refused, in the port's words. */
export function refusal(operation: string, target: string, cause: unknown): HostError {
  if (cause instanceof HostError) return cause;
  const said = textOf(cause);
  const known = ANSWERS.find((each) => each.said.test(said));
  if (known !== undefined)
    return new HostError(known.code, operation, target, { detail: `etcd says ${said}; ${known.remedy}`, cause });
  const isAuth = [EtcdAuthenticationFailedError, EtcdInvalidAuthTokenError, EtcdPermissionDeniedError].some(
    (kind) => cause instanceof kind,
  );
  if (isAuth || cause instanceof GRPCUnauthenticatedError)
    return new HostError('EACCES', operation, target, { detail: `etcd says ${said}; ${ANSWERS[0]!.remedy}`, cause });
  if (cause instanceof GRPCNotImplementedError || cause instanceof z.ZodError)
    return new HostError('EOPNOTSUPP', operation, target, {
      detail: `what answers does not speak as etcd 3 does: ${said}`,
      cause,
    });
  return new HostError('EIO', operation, target, { detail: `etcd says ${said}`, cause });
}

/** What was asked of etcd. */
export interface Call {
  readonly operation: string;
  readonly target: string;
  /** False: once it may have taken effect it is not done again, and its caller is told. */
  readonly isRepeatable: boolean;
}

/** No member answered in time. */
export function noAnswer(
  { operation, target, isRepeatable }: Call,
  { endpoints, timeoutMs }: { readonly endpoints: readonly string[]; readonly timeoutMs: number },
  cause: unknown,
): HostError {
  const wasSent = mayHaveTakenEffect(cause);
  const warning = wasSent && !isRepeatable ? '; it may have taken effect: read before doing it again' : '';
  return new HostError(wasSent ? 'ETIMEDOUT' : 'EAGAIN', operation, target, {
    detail:
      `no answer from etcd at ${endpoints.join(', ')} within ${timeoutMs / 1000} s: ${textOf(cause ?? 'no time was left')}; ` +
      `see that most of its members run and can be reached${warning}`,
    cause,
  });
}

/** grpc puts its code before what was said. */
const textOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/^(?:\w+: )?\d+ [A-Z_]+: /, '').trim();
