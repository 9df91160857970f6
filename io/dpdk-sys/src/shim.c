#define _GNU_SOURCE /* fopencookie */

#include "shim.h"

#include <stdio.h>
#include <sys/types.h>

#include <rte_log.h>

/* What src/lib.rs says of the layout too: both compilers agree. */
_Static_assert(sizeof(struct rte_mbuf) == 128, "mbuf: two cache lines");
_Static_assert(offsetof(struct rte_mbuf, data_off) == 16, "mbuf: data_off");
_Static_assert(offsetof(struct rte_mbuf, pkt_len) == 36, "mbuf: pkt_len");

int popmap_errno(void) { return rte_errno; }

uint32_t popmap_lcore_id(void) { return rte_lcore_id(); }

uint16_t popmap_rx_burst(uint16_t port, struct rte_mbuf **mbufs, uint16_t count) {
    return rte_eth_rx_burst(port, 0, mbufs, count);
}

uint16_t popmap_tx_burst(uint16_t port, struct rte_mbuf **mbufs, uint16_t count) {
    return rte_eth_tx_burst(port, 0, mbufs, count);
}

int popmap_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count) {
    return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

static popmap_log_write log_write;

static ssize_t write_log(void *cookie, const char *text, size_t len) {
    (void)cookie;
    log_write(text, len);
    return (ssize_t)len;
}

int popmap_log_to(popmap_log_write write) {
    log_write = write;
    /* Never closed: any thread of DPDK may be writing at any time. */
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_log});
    return stream == NULL ? -1 : rte_openlog_stream(stream);
}
