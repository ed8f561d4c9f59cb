"""Generated PromQL: typed expressions over the series of `promql_corpus`, the same for the same seed."""

import random

COUNTERS = ["requests_total", "latency_seconds_bucket", "latency_seconds_count", "pod_cpu_seconds_total"]
GAUGES = ["temperature", "queue_length", "up", "pod_memory_bytes", "start_time_seconds", "build_info", "target_info"]
HISTOGRAMS = ["rpc_seconds", "load_distribution", "nhcb_seconds"]
LABELS = ["job", "instance", "code", "path", "room", "le", "pod"]
ANYWHERE = ['job="api"', 'job!="db"', 'instance=~"api.+"', 'instance=~".*-[01]:9100"', 'job=~"api|pods"', 'nothing=""', 'job!~"p.*"']
MATCHERS = {
    "requests_total": ['code=~"2..|5.."', 'path!~"/u.*"', 'code!="500"', 'path="/"'],
    "latency_seconds_bucket": ['le="0.5"', 'le=~"0.*"', 'le!="+Inf"'],
    "temperature": ['room="a"', 'room="é\\"\\\\"', 'room!=""'],
    "pod_cpu_seconds_total": ['pod=~"pod-[1-6]"', 'pod!="pod-3"'],
    "pod_memory_bytes": ['pod=~"pod-1?[0-4]"'],
}
NOWHERE = ['pod=""', 'job=""', 'code="200"', 'room="a"', 'missing!=""']
RANGES = ["45s", "1m", "2m", "5m", "7m30s", "20m", "1h", "2h"]
OVER_FLOATS = ["rate", "increase", "delta", "irate", "idelta", "deriv", "resets", "changes", "sum_over_time", "avg_over_time",
               "min_over_time", "max_over_time", "count_over_time", "present_over_time", "stddev_over_time", "stdvar_over_time",
               "first_over_time", "last_over_time", "absent_over_time"]
OVER_HISTOGRAMS = ["rate", "increase", "delta", "irate", "idelta", "resets", "changes", "sum_over_time", "avg_over_time",
                   "count_over_time", "last_over_time", "first_over_time", "present_over_time"]
MATHS = ["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "round", "sin", "cos", "tan", "asin", "acos",
         "atan", "sinh", "cosh", "tanh", "deg", "rad"]
CALENDAR = ["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]


class Queries:
    """`next()` gives a query. Their depth is small, their variety large."""

    def __init__(self, seed, start_s, end_s):
        self.rng = random.Random(seed)
        self.start_s, self.end_s = start_s, end_s

    def pick(self, *choices):
        return self.rng.choice(choices)()

    def one_of(self, values):
        return self.rng.choice(values)

    def next(self):
        if self.rng.random() < 0.12:
            return self.experimental()
        return self.vector(self.rng.choice([1, 2, 2, 3])) if self.rng.random() < 0.95 else self.scalar(2)

    # Selectors

    def selector(self, names):
        name = self.one_of(names)
        own = MATCHERS.get(name, []) * 3 + ANYWHERE
        matchers = [self.one_of(own) for _ in range(self.one_of([0, 0, 0, 1, 1, 2]))]
        if self.rng.random() < 0.04:
            matchers.append(self.one_of(NOWHERE))
        if self.rng.random() < 0.03:
            return '{__name__=~"' + name[:4] + '.*"' + "".join(f",{m}" for m in matchers) + "}"
        return name + ("{" + ",".join(matchers) + "}" if matchers else "")

    def modifiers(self):
        chance = self.rng.random()
        if chance < 0.1:
            return f" offset {self.one_of(['1m', '17m', '-3m', '2h', '13s'])}"
        if chance < 0.14:
            return f" @ {self.rng.uniform(self.start_s, self.end_s):.3f}"
        if chance < 0.17:
            return f" @ {self.one_of(['start()', 'end()'])}"
        if chance < 0.19:
            return f" @ end() offset {self.one_of(['5m', '-1m'])}"
        return ""

    def window(self, names, depth):
        if depth > 1 and self.rng.random() < 0.2:
            inner = self.floats(depth - 1)
            step = self.one_of(["", "30s", "1m", "77s", "5m"])
            return f"({inner})[{self.one_of(RANGES[3:])}:{step}]{self.modifiers()}"
        return f"{self.selector(names)}[{self.one_of(RANGES)}]{self.modifiers()}"

    # Instant vectors

    def vector(self, depth):
        if self.rng.random() < 0.25:
            return self.histograms(depth) if self.rng.random() < 0.6 else self.from_histograms(depth)
        return self.floats(depth)

    def floats(self, depth):
        if depth <= 0:
            return self.selector(COUNTERS + GAUGES) + self.modifiers()
        deeper = [self.over, self.over, self.aggregation, self.aggregation, self.arithmetic, self.arithmetic, self.maths,
                  self.comparison, self.sets, self.ranking, self.quantiles, self.labels, self.calendar, self.odd,
                  self.from_histograms, self.instant, self.classic]
        return self.one_of(deeper)(depth)

    def instant(self, _):
        return self.selector(COUNTERS + GAUGES) + self.modifiers()

    def over(self, depth):
        chance = self.rng.random()
        names = COUNTERS if self.rng.random() < 0.5 else GAUGES
        if chance < 0.08:
            return f"quantile_over_time({self.one_of(['0.5', '0.9', '0', '1', '-1', '2'])}, {self.window(names, depth)})"
        if chance < 0.14:
            return f"predict_linear({self.window(names, depth)}, {self.one_of(['3600', '-60', '0'])})"
        function = self.one_of(OVER_FLOATS)
        if function in ("rate", "increase", "irate", "resets") and chance < 0.8:
            names = COUNTERS
        return f"{function}({self.window(names, depth)})"

    def grouping(self):
        chance = self.rng.random()
        labels = ", ".join(self.rng.sample(LABELS, self.one_of([1, 1, 2])))
        return "" if chance < 0.25 else f" by ({labels})" if chance < 0.75 else f" without ({labels})"

    def aggregation(self, depth):
        chance = self.rng.random()
        inner = self.vector(depth - 1) if self.rng.random() < 0.15 else self.floats(depth - 1)
        if chance < 0.08:
            return f"quantile{self.grouping()} ({self.one_of(['0.5', '0.25', '0.99', '1.5', 'NaN'])}, {inner})"
        if chance < 0.13:
            return f'count_values{self.grouping()} ("value", round({inner}, 5))'
        return f"{self.one_of(AGGREGATIONS)}{self.grouping()} ({inner})"

    def ranking(self, depth):
        return f"{self.one_of(['topk', 'bottomk'])}{self.grouping()} ({self.one_of([1, 2, 3, 5, 100])}, {self.floats(depth - 1)})"

    def matching(self):
        chance = self.rng.random()
        if chance < 0.35:
            return ""
        labels = ", ".join(self.one_of([["instance"], ["job", "instance"], ["instance", "job", "path"], ["job"]]))
        group = self.one_of(["", "", "group_left", "group_right", "group_left (version)", "group_right (os)"])
        return (f"on ({labels})" if chance < 0.8 else f"ignoring ({self.one_of(['code', 'path', 'le', 'room', 'code, path'])})") + f" {group}"

    def arithmetic(self, depth):
        op = self.one_of(["+", "-", "*", "/", "%", "^", "atan2"])
        chance = self.rng.random()
        if chance < 0.3:
            return f"{self.floats(depth - 1)} {op} {self.scalar(depth - 1)}"
        if chance < 0.4:
            return f"{self.scalar(depth - 1)} {op} {self.floats(depth - 1)}"
        if chance < 0.5:
            inner = self.floats(depth - 1)
            return f"({inner}) {op} ({inner})"
        if chance < 0.65:
            names = self.one_of([COUNTERS[:1], ["temperature"], ["queue_length", "up"]])
            return f"{self.selector(names)} {op} {self.matching()} {self.one_of(['build_info', 'target_info', 'up', 'queue_length'])}"
        if chance < 0.7:
            return f"-({self.floats(depth - 1)})"
        return f"({self.floats(depth - 1)}) {op} {self.matching()} ({self.floats(depth - 1)})"

    def comparison(self, depth):
        op = self.one_of(["==", "!=", ">", "<", ">=", "<="]) + self.one_of(["", "", " bool"])
        if self.rng.random() < 0.6:
            return f"{self.floats(depth - 1)} {op} {self.scalar(0)}"
        return f"({self.floats(depth - 1)}) {op} {self.matching()} ({self.floats(depth - 1)})"

    def sets(self, depth):
        op = self.one_of(["and", "or", "unless"])
        on = self.one_of(["", "", "on (job)", "on (instance)", "ignoring (code)", "on ()"])
        left, right = (self.vector(depth - 1) if self.rng.random() < 0.2 else self.floats(depth - 1) for _ in range(2))
        return f"({left}) {op} {on} ({right})"

    def maths(self, depth):
        chance = self.rng.random()
        if chance < 0.2:
            return f"clamp({self.floats(depth - 1)}, {self.one_of(['-1', '0', '5'])}, {self.one_of(['3', '100', '-7'])})"
        if chance < 0.3:
            return f"{self.one_of(['clamp_min', 'clamp_max'])}({self.floats(depth - 1)}, {self.scalar(0)})"
        if chance < 0.35:
            return f"round({self.floats(depth - 1)}, {self.one_of(['0.1', '10', '-1', '0'])})"
        return f"{self.one_of(MATHS)}({self.floats(depth - 1)})"

    def quantiles(self, depth):
        share = self.one_of(["0.5", "0.9", "0.99", "0", "1", "-0.5", "1.1", "NaN"])
        rate = f"{self.one_of(['rate', 'increase'])}({self.selector(['latency_seconds_bucket'])}[{self.one_of(RANGES)}])"
        inner = self.one_of([rate, f"sum by (le) ({rate})", f"sum by (le, job) ({rate})", "latency_seconds_bucket"])
        return f"histogram_quantile({share}, {inner})"

    def classic(self, _):
        low, high = self.one_of([("0", "0.1"), ("0.01", "1"), ("-Inf", "+Inf"), ("1", "0")])
        return f"histogram_fraction({low}, {high}, rate(latency_seconds_bucket[{self.one_of(RANGES)}]))"

    def labels(self, depth):
        inner = self.floats(depth - 1)
        return self.one_of([
            f'label_replace({inner}, "{self.one_of(["node", "instance", "job"])}", "$1-x", "instance", "(.*):.*")',
            f'label_replace({inner}, "{self.one_of(["kind", "__name__"])}", "k_$1", "job", "(a|d).*")',
            f'label_join({inner}, "{self.one_of(["all", "job"])}", "/", "job", "instance", "nothing")',
            f"{self.one_of(['sort', 'sort_desc'])}({inner})",
        ])

    def calendar(self, depth):
        if self.rng.random() < 0.3:
            return f"{self.one_of(CALENDAR)}()"
        return f"{self.one_of(CALENDAR)}({self.one_of(['start_time_seconds', 'timestamp(up)', self.floats(0)])})"

    def odd(self, depth):
        return self.one_of([
            f"absent({self.selector(COUNTERS + GAUGES)})",
            f"vector({self.scalar(depth - 1)})",
            f"timestamp({self.one_of([self.selector(GAUGES) + self.modifiers(), self.floats(depth - 1)])})",
            f"scalar({self.floats(depth - 1)}) + {self.floats(depth - 1)}",
            f"time() - {self.selector(['start_time_seconds'])}",
        ])

    # Native histograms

    def histograms(self, depth):
        selected = self.selector(HISTOGRAMS)
        over = f"{self.one_of(OVER_HISTOGRAMS)}({selected}[{self.one_of(RANGES)}]{self.modifiers()})"
        inner = self.one_of([selected, over, over])
        if depth <= 0:
            return inner
        return self.one_of([
            inner, over,
            f"{self.one_of(['sum', 'avg', 'count', 'group', 'min', 'max', 'stddev'])}{self.grouping()} ({inner})",
            f"({inner}) {self.one_of(['+', '-', '*', '/', '==', '!=', '>'])} {self.matching()} ({self.one_of([over, inner, self.floats(0)])})",
            f"({inner}) {self.one_of(['*', '/', '+', '%'])} {self.scalar(0)}",
            f"{self.scalar(0)} {self.one_of(['*', '/'])} ({inner})",
            f"-({inner})",
            f"topk({self.one_of([1, 3])}, {inner})",
            f"({inner}) {self.one_of(['and', 'or', 'unless'])} ({self.floats(0)})",
        ])

    def from_histograms(self, depth):
        inner = self.histograms(depth - 1)
        return self.one_of([
            f"histogram_quantile({self.one_of(['0.5', '0.9', '0', '1', '2'])}, {inner})",
            f"histogram_fraction({self.one_of(['0, 1', '-1, 0.5', '0.1, 10', '3, 1'])}, {inner})",
            f"{self.one_of(['histogram_count', 'histogram_sum', 'histogram_avg', 'histogram_stddev', 'histogram_stdvar'])}({inner})",
        ])

    # Behind feature flags

    def experimental(self):
        counter, gauge = self.selector(COUNTERS), self.selector(["temperature", "queue_length", "pod_memory_bytes"])
        window, inner = self.one_of(RANGES), self.floats(1)
        over = self.one_of(["mad_over_time", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_min_over_time", "ts_of_max_over_time"])
        share = self.one_of(["0.2", "0.5", "-0.3", "1.5", "0"])
        names = self.one_of(['"instance"', '"job", "instance"'])
        fill = self.one_of(["fill (0)", "fill_left (1)", "fill_right (-1)", "fill_left (2) fill_right (3)"])
        return self.one_of([
            f"{over}({gauge}[{window}])",
            f"double_exponential_smoothing({gauge}[{window}], {self.one_of(['0.5', '0.1', '1.5'])}, 0.3)",
            f"{self.one_of(['sort_by_label', 'sort_by_label_desc'])}({inner}, {names})",
            f"limitk{self.grouping()} ({self.one_of([0, 1, 3])}, {gauge})",
            f"limit_ratio{self.grouping()} ({share}, {counter})",
            f"info({counter})",
            f'info({gauge}, {{os=~".+"}})',
            f"{gauge} + {self.one_of(['start()', 'end()', 'step()', 'range()', 'max_of(step(), 30)', 'min_of(time(), end())'])}",
            f'histogram_quantiles({self.histograms(0)}, "q", 0.5, 0.9)',
            f'histogram_quantiles(rate(latency_seconds_bucket[{window}]), "q", 0.5, 0.99)',
            f"{self.one_of(['rate', 'increase', 'delta'])}({counter}[{window}] {self.one_of(['anchored', 'smoothed'])})",
            f"{self.one_of(['changes', 'resets'])}({counter}[{window}] anchored)",
            f"{gauge} smoothed",
            f"{counter} / on (instance, job) group_left {fill} up",
            f"sum by (instance) ({counter}) + {fill} sum by (instance) ({gauge})",
            f"rate({counter}[{self.one_of(['1m * 3', '5m - 30s', 'step() * 2', 'max_of(step(), 5m)', '2 ^ 2 * 1m'])}])",
        ])

    # Scalars

    def scalar(self, depth):
        if depth <= 0 or self.rng.random() < 0.6:
            return self.one_of(["0", "1", "2", "-3.5", "100", "1e3", "0.25", "NaN", "Inf", "time()", "pi()", "0x1f", "5m"])
        return self.one_of([
            f"scalar({self.floats(depth - 1)})",
            f"({self.scalar(depth - 1)} {self.one_of(['+', '-', '*', '/', '%', '^', '> bool', '== bool'])} {self.scalar(depth - 1)})",
            f"-{self.scalar(0)}",
        ])
