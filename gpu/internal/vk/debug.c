// The messages of layers, loader and drivers are kept in C: they arrive on any thread, at any moment, inside any call,
// where Go code must not run.
#include "shim.h"
#include <stdio.h>
#include <string.h>

enum { SEVERITY_WARNING = 0x100, SEVERITY_ERROR = 0x1000, TYPE_VALIDATION = 2 };

// Held for one line's copy, so a spinning lock does, and it is the same on every system.
static void lock(vkx_ledger *l) {
	while (__atomic_exchange_n(&l->lock, 1, __ATOMIC_ACQUIRE)) {
	}
}
static void unlock(vkx_ledger *l) { __atomic_store_n(&l->lock, 0, __ATOMIC_RELEASE); }

// What layers say about themselves when their checks of shaders are on: which features they add, which checks a device
// does not allow, that they take long.
static int about_itself(const char *id) {
	static const char *const ids[] = {"VALIDATION-SETTINGS", "WARNING-Setting-Limit-Adjusted", "UNASSIGNED-GPU-Assisted Validation Warning",
		"GPUAV-Compile-time-general-buffer"};
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
		if (!strcmp(id, ids[i])) return 1;
	return 0;
}

Bool32 VKCALL vkx_debug(uint32_t severity, uint32_t type, const DebugData *data, void *user) {
	vkx_ledger *l = user;
	int ring = (type & TYPE_VALIDATION) ? 0 : 1;
	if (ring == 1 && !(severity & SEVERITY_ERROR)) return 0;
	const char *id = data->idName ? data->idName : "", *text = data->message ? data->message : "";
	if (ring == 0 && about_itself(id)) return 0;
	lock(l);
	char *line = l->line[ring][l->written[ring]++ % RING_LINES];
	if (strstr(text, id)) snprintf(line, RING_WIDTH, "%s", text);
	else snprintf(line, RING_WIDTH, "%s: %s", id, text);
	unlock(l);
	return 0; // the call that caused it goes on
}

void vkx_count(vkx_ledger *l, int kind, int by) { __atomic_fetch_add(&l->live[kind], by, __ATOMIC_RELAXED); }
int64_t vkx_live(vkx_ledger *l, int kind) { return __atomic_load_n(&l->live[kind], __ATOMIC_RELAXED); }

uint64_t vkx_written(vkx_ledger *l, int ring) {
	lock(l);
	uint64_t n = l->written[ring];
	unlock(l);
	return n;
}

int vkx_line(vkx_ledger *l, int ring, uint64_t n, char *out) {
	lock(l);
	int there = n < l->written[ring] && l->written[ring] - n <= RING_LINES;
	if (there) memcpy(out, l->line[ring][n % RING_LINES], RING_WIDTH);
	unlock(l);
	return there;
}
