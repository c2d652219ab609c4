#!/usr/bin/env python3
"""openapi_check.py HOST:PORT MODEL USER ITEM: holds a serving node against its own /openapi.json.

Every route and every code that is described must have a case here, and the case must be answered so; a 2xx must fit its
schema, an error must be {"error": "..."}. What is asked but not described is a failure, too. The node must keep two versions
and have an experiment "same".
"""
import json
import re
import sys
import urllib.error
import urllib.request

node, model, user, item = sys.argv[1:5]
bad = 0


def complain(text):
    global bad
    bad += 1
    print(text)


def ask(method, path, body=None, headers=None):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request("http://" + node + path, data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def fits(value, schema, at, root):
    """Why value doesn't fit the schema, or None: the part of JSON schema that the description uses."""
    if "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "oneOf" in schema:
        return None if any(fits(value, s, at, root) is None for s in schema["oneOf"]) else at + ": none of oneOf"
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return "%s: %r is no %s" % (at, value, kind)
    if kind == "object":
        for key in schema.get("required", []):
            if key not in value:
                return "%s: no %s" % (at, key)
        if schema.get("properties"):
            for key, v in value.items():
                if key not in schema["properties"]:
                    return "%s: %s is not described" % (at, key)
                why = fits(v, schema["properties"][key], at + "." + key, root)
                if why:
                    return why
    if kind == "array":
        for i, v in enumerate(value):
            why = fits(v, schema.get("items", {}), "%s[%d]" % (at, i), root)
            if why:
                return why
    return None


def tensor(**more):
    return {"inputs": [dict({"name": "user", "datatype": "BYTES", "shape": [2], "data": [user, "x"]}, **more)]}


versions = json.loads(ask("GET", "/v1/versions")[2])["versions"]
k = [v["snapshot_version"] for v in versions if v["shown"]][0]
names = {"{id}": user, "{model}": model, "{version}": str(k)}
I, M = "/v1/items/{id}", "/v2/models/{model}"
MV = M + "/versions/{version}"
big = b'{"user_id": 18446744073709551616, "items": [1]}'
# (method, path of the description, code): (path that is asked or None, body)
cases = {
    ("post", "/v1/rank", 200): [(None, {"user_id": user, "items": [item, 5, {"item_id": "x"}]}),
                                (None, {"items": [int(item) if item.isdigit() else item]})],
    ("post", "/v1/rank", 400): [(None, {"user_id": user}), (None, b"{"), (None, b"[]"), (None, b""), (None, big),
                                (None, b'{"items": [1], "items": [2]}'), (None, b'{"items": [NaN]}'),
                                (None, b'{"items": [1e400]}'), (None, b"[" * 100), (None, {"items": "x"}),
                                (None, {"items": [1], "context": {"no_such_field": 1}}), (None, b"\xff\xfe{}"),
                                (None, {"items": []}), (None, {"items": [[1]]}), (None, {"items": [1] * 100000})],
    ("post", "/v1/rank", 404): [(None, {"items": [item], "version": 999999})],
    ("post", "/v1/recommend", 200): [(None, {"user_id": user, "n": 3}), (None, {})],
    ("post", "/v1/recommend", 400): [(None, {"n": "many"}), (None, {"filter": 3})],
    ("post", "/v1/recommend", 404): [(None, {"user_id": user, "version": 999999})],
    ("post", "/v1/events", 202): [(None, {"user_id": user, "events": [{"event_id": "oa1", "type": "click", "item_id": item}]})],
    ("post", "/v1/events", 400): [(None, {"user_id": user}), (None, {"user_id": user, "events": [{"type": "click"}]})],
    ("put", "/v1/users/{id}", 200): [(None, {"fields": {"user": user}})],
    ("put", "/v1/users/{id}", 400): [(None, {"fields": 3})],
    ("get", "/v1/users/{id}", 200): [(None, None)],
    ("get", "/v1/users/{id}", 400): [("/v1/users/x?y=1", None), ("/v1/users/%00", None)],
    ("get", "/v1/users/{id}", 404): [("/v1/users/nobody-at-all", None)],
    ("put", I, 200): [("/v1/items/" + item, {"fields": {"price": 3.5}, "in_stock": True})],
    ("put", I, 400): [(None, {"fields": [], "in_stock": 3})],
    ("get", I, 200): [("/v1/items/" + item, None)],
    ("get", I, 400): [("/v1/items/x?y=1", None)],
    ("get", I, 404): [("/v1/items/nothing-at-all", None)],
    ("get", I + "/similar", 200): [("/v1/items/%s/similar?n=3" % item, None)],
    ("get", I + "/similar", 400): [("/v1/items/%s/similar?n=many" % item, None)],
    ("delete", I, 200): [("/v1/items/" + item, None)],
    ("delete", I, 400): [("/v1/items/x?y=1", None)],
    ("delete", "/v1/users/{id}", 200): [(None, None)],
    ("delete", "/v1/users/{id}", 400): [("/v1/users/x?y=1", None)],
    ("get", "/v1/experiments", 200): [(None, None)],
    ("get", "/v1/experiments/{id}", 200): [("/v1/experiments/same", None)],
    ("get", "/v1/experiments/{id}", 404): [("/v1/experiments/other", None)],
    ("get", "/v1/versions", 200): [(None, None)],
    ("post", "/v1/versions/rollback", 200): [(None, None)],
    ("post", "/v1/versions/rollback", 409): [(None, None)] * 32,
    ("post", "/v1/versions/unpin", 200): [(None, None)],
    ("post", "/v1/versions/pin", 200): [(None, {"snapshot_version": k})],
    ("post", "/v1/versions/pin", 400): [(None, {"snapshot_version": "newest"}), (None, {})],
    ("post", "/v1/versions/pin", 404): [(None, {"snapshot_version": 999999})],
    ("get", "/v2", 200): [(None, None)],
    ("get", "/v2/health/live", 200): [(None, None)],
    ("get", "/v2/health/ready", 200): [(None, None)],
    ("get", M, 200): [(None, None)],
    ("get", M, 404): [("/v2/models/other", None)],
    ("get", MV, 200): [(None, None)],
    ("get", MV, 404): [("/v2/models/%s/versions/x" % model, None), ("/v2/models/%s/versions/999999" % model, None)],
    ("get", M + "/ready", 200): [(None, None)],
    ("get", M + "/ready", 404): [("/v2/models/other/ready", None)],
    ("get", MV + "/ready", 200): [(None, None)],
    ("get", MV + "/ready", 404): [("/v2/models/%s/versions/0/ready" % model, None)],
    ("post", M + "/infer", 200): [(None, dict(tensor(), id="abc")), (None, tensor(shape=[2, 1], data=[["1"], ["2"]])),
                                  (None, tensor(datatype="INT64", data=[1, 2]))],
    ("post", M + "/infer", 400): [(None, {}), (None, tensor(datatype="FP8")), (None, tensor(shape=[3])), (None, tensor(shape=[2, 2])),
                                  (None, tensor(data=[1, 2])), (None, tensor(datatype="INT8", data=[1, 300])),
                                  (None, tensor(name="no_such_field")), (None, tensor(shape=[10 ** 12])),
                                  (None, dict(tensor(), outputs=[{"name": "nothing"}])), (None, dict(tensor(), id=3))],
    ("post", M + "/infer", 404): [("/v2/models/other/infer", tensor())],
    ("post", MV + "/infer", 200): [(None, tensor())],
    ("post", MV + "/infer", 400): [(None, {"inputs": []})],
    ("post", MV + "/infer", 404): [("/v2/models/%s/versions/999999/infer" % model, tensor())],
    ("get", "/healthz", 200): [(None, None)],
    ("get", "/metrics", 200): [(None, None)],
    ("get", "/openapi.json", 200): [(None, None)],
}

code, _, text = ask("GET", "/openapi.json")
root = json.loads(text)
described = {(m, p, int(c)) for p, ms in root["paths"].items() for m, o in ms.items() for c in o["responses"]}
for one in sorted(described - set(cases)):
    complain("described, but no case here: %s %s %d" % one)
for one in sorted(set(cases) - described):
    complain("a case here, but not described: %s %s %d" % one)

for (method, path, want), asked in cases.items():
    got = set()
    for real, body in asked:
        if (method, path) == ("post", "/v1/versions/rollback") and 409 in got:
            break  # one after the other until nothing older is left
        real = real or re.sub(r"\{\w+\}", lambda m: names[m.group(0)], path)
        code, headers, text = ask(method.upper(), real, body)
        got.add(code)
        say = "%s %s %s: %d, wanted %d: %s" % (method, real, str(body)[:60], code, want, text[:200])
        if code != want and not (want == 409 and code == 200):
            complain(say)
            continue
        if path == "/metrics":
            continue
        value = json.loads(text)
        if code < 300:
            schema = root["paths"][path][method]["responses"][str(code)]["content"]["application/json"]["schema"]
            why = fits(value, schema, "answer", root)
            if why:
                complain(say + ": " + why)
        elif not isinstance(value, dict) or len(str(value.get("error", ""))) < 8 or len(value) != 1:
            complain(say + ": no error text")
    if want not in got:
        complain("%s %s: never %d" % (method, path, want))

for path, methods in root["paths"].items():  # any other method: 405 and what there is
    real = re.sub(r"\{\w+\}", lambda m: names[m.group(0)], path)
    for method in {"get", "post", "put", "delete"} - set(methods):
        code, headers, text = ask(method.upper(), real, b"{}" if method in ("post", "put") else None)
        if code != 405 or not headers.get("Allow") or method.upper() in headers["Allow"]:
            complain("%s %s: %d, Allow %s" % (method, path, code, headers.get("Allow")))
for path in ["/", "/v1", "/v1/", "/v1/rank/", "/v3", "/v1/users", "/v1/users/", "/v2/", "/v2/models", "/%2e%2e/etc/passwd"]:
    if ask("GET", path)[0] != 404:
        complain("%s: not 404" % path)
code, _, text = ask("POST", "/v1/rank", b" " * 3000000)
if code != 413 or "error" not in json.loads(text):
    complain("a body of 3 MB: %d" % code)

print("%d routes and codes held, %d wrong" % (len(cases), bad))
sys.exit(bad > 0)
