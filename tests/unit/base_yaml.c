/* base_yaml.c - YAML: the subset that is read, with marks, and everything that is refused, with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/yaml.h"

static struct yaml_node *parse_n(const char *text, size_t n)
{
    struct yaml_node *node = NULL;
    struct errbuf err = ERRBUF_INIT;
    if (yaml_parse(text, n, "t.yaml", &node, &err) != ST_OK)
        fail_msg("%s", err.text);
    return node;
}

static struct yaml_node *parse(const char *text)
{
    return parse_n(text, strlen(text));
}

static void refused_n(const char *text, size_t n, const char *place, const char *why)
{
    struct yaml_node *node = NULL;
    struct errbuf err = ERRBUF_INIT;
    enum status st = yaml_parse(text, n, "t.yaml", &node, &err);
    if (st != ST_USAGE)
        fail_msg("status %d for %.40s", (int)st, text);
    assert_null(node);
    if (strncmp(err.text, place, strlen(place)) != 0 || strstr(err.text, why) == NULL)
        fail_msg("'%s' lacks '%s' or '%s'", err.text, place, why);
}

static void refused(const char *text, const char *place, const char *why)
{
    refused_n(text, strlen(text), place, why);
}

static void test_tree_and_marks(void **state)
{
    (void)state;
    struct yaml_node *root = parse("# a job\n"
                                   "train:\n"
                                   "  batch: 4096   # records\n"
                                   "  name: \"4096\"\n"
                                   "data: [a.csv, 'b c', {x: 1}]\n"
                                   "text: |\n"
                                   "  two\n"
                                   "  lines\n"
                                   "empty:\n");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->items_used, 4);
    assert_string_equal(root->keys[1]->text, "data");
    const struct yaml_node *train = yaml_get(root, "train");
    const struct yaml_node *batch = yaml_get(train, "batch");
    assert_string_equal(batch->text, "4096");
    assert_false(batch->quoted);
    assert_int_equal(batch->line, 3);
    assert_int_equal(batch->column, 10);
    assert_int_equal(train->keys[0]->line, 3);
    assert_int_equal(train->keys[0]->column, 3);
    assert_true(yaml_get(train, "name")->quoted);
    const struct yaml_node *data = yaml_get(root, "data");
    assert_int_equal(data->kind, YAML_LIST);
    assert_int_equal(data->items_used, 3);
    assert_string_equal(data->items[1]->text, "b c");
    assert_int_equal(data->items[2]->kind, YAML_MAP);
    assert_string_equal(yaml_get(root, "text")->text, "two\nlines\n");
    assert_true(yaml_get(root, "text")->quoted);
    assert_string_equal(yaml_get(root, "empty")->text, "");
    assert_null(yaml_get(root, "none"));
    assert_null(yaml_get(batch, "none"));
    assert_null(yaml_get(NULL, "none"));
    yaml_tree_free(root);
    yaml_tree_free(NULL);
}

static void test_empty(void **state)
{
    (void)state;
    static const char *const nothing[] = {"", "\n\n", "# only a remark\n", "\xEF\xBB\xBF", "   "};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        struct yaml_node *root = parse(nothing[i]);
        assert_int_equal(root->kind, YAML_MAP);
        assert_int_equal(root->items_used, 0);
        yaml_tree_free(root);
    }
    struct yaml_node *root = parse("---\na: 1\n...\n"); /* explicit, one document */
    assert_string_equal(yaml_get(root, "a")->text, "1");
    yaml_tree_free(root);
}

static void test_foreign_line_ends(void **state)
{
    (void)state;
    struct yaml_node *root = parse("\xEF\xBB\xBF"
                                   "a: 1\r\nb:\r\n  c: x y\r\n");
    assert_string_equal(yaml_get(root, "a")->text, "1");
    assert_string_equal(yaml_get(yaml_get(root, "b"), "c")->text, "x y");
    assert_int_equal(yaml_get(yaml_get(root, "b"), "c")->line, 3);
    yaml_tree_free(root);
}

static void test_refused_features(void **state)
{
    (void)state;
    refused("a: &x 1\n", "t.yaml:1:4:", "anchors");
    refused("a: &x [1]\n", "t.yaml:1:4:", "anchors");
    refused("a: &x {b: 1}\n", "t.yaml:1:4:", "anchors");
    refused("a: *x\n", "t.yaml:1:4:", "aliases");
    refused("a: !!int 5\n", "t.yaml:1:4:", "tags");
    refused("a: ! 5\n", "t.yaml:1:4:", "tags");
    refused("a: !mine {x: 1}\n", "t.yaml:1:4:", "tags");
    refused("a: !mine [x]\n", "t.yaml:1:4:", "tags");
    refused("%YAML 1.1\n---\na: 1\n", "t.yaml:1:1:", "directives");
    refused("%TAG ! tag:x:\n---\na: 1\n", "t.yaml:1:1:", "directives");
    refused("a: 1\n---\nb: 2\n", "t.yaml:2:1:", "second document");
    refused("a: 1\nb: 2\na: 3\n", "t.yaml:3:1:", "a: this key stands in line 1 already");
    refused("x:\n  k: 1\n  \"k\": 2\n", "t.yaml:3:3:", "line 2");
    refused("[a]: 1\n", "t.yaml:1:", "key must be a text");
    refused("? {a: 1}\n: 2\n", "t.yaml:1:", "key must be a text");
    refused("a: \"x\\0y\"\n", "t.yaml:1:4:", "zero byte");
}

static void test_refused_syntax(void **state)
{
    (void)state;
    refused("a: [1, 2\n", "t.yaml:", "");
    refused("a: 'x\n", "t.yaml:", "");
    refused("a:\n\tb: 1\n", "t.yaml:2:1:", "");
    refused("a: b: c\n", "t.yaml:1:5:", "");
    refused("a: @x\n", "t.yaml:1:4:", "");
    refused("a: 1\n  b: 2\n", "t.yaml:2:4:", "");
    refused("- a\nb: 1\n", "t.yaml:2:1:", "");
    refused("a: \"\\q\"\n", "t.yaml:1:", "");
}

static void test_binary(void **state)
{
    (void)state;
    refused_n("a: \x01\n", 5, "t.yaml:1:4:", "control characters");
    refused_n("ok: 1\nab: \xff\xfe\n", 13, "t.yaml:2:5:", "UTF-8");
    refused_n("a: b\0c: d\n", 10, "t.yaml:1:5:", "control characters");
    refused_n("\xff\xfe\x61\x00:\x00", 6, "t.yaml:1:1:", "UTF-8"); /* UTF-16 */
    uint8_t junk[4096];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof junk; i++)
        junk[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
    refused_n((const char *)junk, sizeof junk, "t.yaml:", "");
}

/* The classic: nine lines that would expand to a billion. */
static void test_bomb(void **state)
{
    (void)state;
    struct buffer b = BUFFER_INIT;
    buffer_printf(&b, "a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (char c = 'b'; c < 'k'; c++)
        buffer_printf(&b, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1,
                      c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
    refused_n((const char *)b.data, b.used, "t.yaml:1:4:", "anchors");
    buffer_release(&b);
}

static void test_bounds(void **state)
{
    (void)state;
    uint64_t before = clock_now_us();
    struct buffer b = BUFFER_INIT;
    memset(buffer_room(&b, (1 << 20) + 1), ' ', (1 << 20) + 1);
    refused_n((const char *)b.data, b.used, "t.yaml:", "too many");
    yaml_tree_free(parse_n((const char *)b.data, 1 << 20)); /* the bound itself is allowed */

    char flow[129];
    memset(flow, '[', 64);
    memset(flow + 64, ']', 64);
    refused_n(flow, 128, "t.yaml:1:33:", "too deep");
    yaml_tree_free(parse_n(flow + 32, 64));
    buffer_reset(&b);
    for (int i = 0; i < 400000; i++)
        buffer_u8(&b, '[');
    refused_n((const char *)b.data, b.used, "t.yaml:", "");
    buffer_reset(&b);
    for (int i = 0; i < 40; i++)
        buffer_printf(&b, "%*sk:\n", i, "");
    refused_n((const char *)b.data, b.used, "t.yaml:33:", "too deep");
    buffer_reset(&b);
    for (int i = 0; i < 200000; i++)
        buffer_printf(&b, "- \n");
    refused_n((const char *)b.data, b.used, "t.yaml:65536:", "too many values");
    buffer_reset(&b);
    for (int i = 0; i < 2000; i++)
        buffer_printf(&b, "k%d: 1\n", i);
    refused_n((const char *)b.data, b.used, "t.yaml:1025:", "too many keys");
    buffer_reset(&b);
    for (int i = 0; i < 100000; i++)
        buffer_printf(&b, "? ");
    refused_n((const char *)b.data, b.used, "t.yaml:", "");
    buffer_reset(&b);
    for (int i = 0; i < 100000; i++)
        buffer_printf(&b, "- ");
    refused_n((const char *)b.data, b.used, "t.yaml:", "");
    buffer_release(&b);
    assert_true(clock_now_us() - before < 20000000); /* bounded in time, too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_and_marks),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_foreign_line_ends),
        cmocka_unit_test(test_refused_features),
        cmocka_unit_test(test_refused_syntax),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
