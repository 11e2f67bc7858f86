// Faults for tests: the n-th call of a kind reports a failure in the driver's stead and is not made. Memory that runs
// out may come back, so that fault passes; a device that is lost stays lost, and with it every other, unless the fault is
// to come once: then the one that met it alone. Disarmed, a call costs one load.
#include "shim.h"

static struct {
	uint32_t kinds; // 0: disarmed
	Result result;
	int64_t left, seen;
	const char *fired;
} armed;

void vkx_arm(uint32_t kinds, int64_t nth, Result result) {
	__atomic_store_n(&armed.kinds, 0, __ATOMIC_SEQ_CST);
	armed.result = result;
	armed.left = nth;
	armed.seen = 0;
	armed.fired = NULL;
	__atomic_store_n(&armed.kinds, kinds, __ATOMIC_SEQ_CST);
}

const char *vkx_disarm(int64_t *seen) {
	__atomic_store_n(&armed.kinds, 0, __ATOMIC_SEQ_CST);
	*seen = armed.seen;
	return armed.fired;
}

Result vkx_fault(uint32_t kind, const char *call) {
	if (!(__atomic_load_n(&armed.kinds, __ATOMIC_RELAXED) & kind)) return R_SUCCESS;
	__atomic_add_fetch(&armed.seen, 1, __ATOMIC_SEQ_CST);
	int64_t left = __atomic_sub_fetch(&armed.left, 1, __ATOMIC_SEQ_CST);
	int stays = armed.result == R_DEVICE_LOST && !(__atomic_load_n(&armed.kinds, __ATOMIC_RELAXED) & FAULT_ONCE);
	if (left > 0 || (left < 0 && !stays)) return R_SUCCESS;
	if (left == 0) armed.fired = call;
	return armed.result;
}
