/* What popmap calls of DPDK: the input of bindgen. Functions named popmap_ are defined in shim.c, because DPDK has what
 * they do in its headers only, as inline functions, thread-local variables or macros. */

#ifndef POPMAP_SHIM_H
#define POPMAP_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/* Macros that bindgen does not evaluate. */
static const uint64_t POPMAP_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t POPMAP_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t POPMAP_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t POPMAP_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint32_t POPMAP_LCORE_ID_ANY = LCORE_ID_ANY;
/* Single producer, single consumer. */
static const uint32_t POPMAP_RING_FLAGS = RING_F_SP_ENQ | RING_F_SC_DEQ;

/* This thread's error number. */
int popmap_errno(void);

/* This thread's number among those that DPDK knows, or POPMAP_LCORE_ID_ANY. */
uint32_t popmap_lcore_id(void);

/* The first queue of a port. */
uint16_t popmap_rx_burst(uint16_t port, struct rte_mbuf **mbufs, uint16_t count);
uint16_t popmap_tx_burst(uint16_t port, struct rte_mbuf **mbufs, uint16_t count);

/* All or none; 0 or a negative error number. */
int popmap_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count);

/* Has DPDK's log written to `write`, from any thread; to be called once, before rte_eal_init. 0 or -1. */
typedef void (*popmap_log_write)(const char *text, size_t len);
int popmap_log_to(popmap_log_write write);

#endif
