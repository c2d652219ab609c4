/* http_infer.h - the Open Inference Protocol, version 2, over REST: tensors in, tensors out.
 *
 *     GET  /v2                                          server metadata
 *     GET  /v2/health/live, /v2/health/ready            (http_health.h)
 *     GET  /v2/models/{m}[/versions/{v}]                model metadata
 *     GET  /v2/models/{m}[/versions/{v}]/ready
 *     POST /v2/models/{m}[/versions/{v}]/infer
 *
 * The model's name is the job's; its versions are the cuts that are kept. Inputs are the job's fields by name, one tensor
 * each of shape [n] or [n, 1], n records: BYTES (text) or integers or BOOL for ids, any number for floats; a field that is
 * not named is a missing cell. The text of a cell is what the log would hold, a bag's with its separators. Outputs
 * are service_outputs', FP32 of shape [n]. (https://github.com/kserve/open-inference-protocol, "Inference Protocol HTTP/REST".)
 */
#ifndef PENSTOCK_PS_SERVE_HTTP_INFER_H
#define PENSTOCK_PS_SERVE_HTTP_INFER_H

struct call;

void http_infer_server(struct call *c);
void http_infer_model(struct call *c);
void http_infer_ready(struct call *c);
void http_infer(struct call *c);

#endif
