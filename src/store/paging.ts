/** A page of a list: at most `limit` entries, after the entry named `after`. Default all. */
export interface Page {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

/** The Prisma arguments for a page of a list sorted by name, one entry more than asked to see whether there are more. */
export function byName(page: Page): {
  where: { name?: { gt: string } };
  orderBy: { name: 'asc' };
  take?: number;
} {
  return {
    where: page.after === undefined ? {} : { name: { gt: page.after } },
    orderBy: { name: 'asc' },
    ...(page.limit === undefined ? {} : { take: page.limit + 1 }),
  };
}
