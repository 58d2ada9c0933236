import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addShop } from './shop.ts';
import { startTestApi, type TestApi } from './test-api.ts';

describe('location.switch', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
    await addShop(api);
  });
  afterAll(async () => {
    await api.close();
  });
  const place = { path: '/opt/new', gitrepo: 'repo', default_branch: 'master' };
  const put = (name: string, location: object) =>
    api.call('PUT', `/app/shop/gitdeploys?name=${name}`, { body: { package: 'master', location } });

  it('is in place by default, and then not shown', async () => {
    expect((await put('Default', place)).body.location).toEqual(place);
    const named = await put('Named', { ...place, path: '/opt/named', switch: 'in_place' });
    expect(named.body.location).toEqual({ ...place, path: '/opt/named' });
  });

  it('is atomic where asked, with five releases or as many as asked', async () => {
    const location = { ...place, switch: 'atomic' };
    expect((await put('Five', location)).body.location).toEqual({ ...location, keep_releases: 5 });
    const seven = { ...location, keep_releases: 7 };
    const changed = await api.call('PATCH', '/app/shop/gitdeploys/Five', {
      body: { location: seven },
    });
    expect(changed).toMatchObject({ status: 200, body: { location: seven } });
    expect((await api.call('GET', '/app/shop/gitdeploys/Five')).body.location).toEqual(seven);
  });

  it.each([
    [{ switch: 'sometimes' }, 'switch'],
    [{ switch: 'atomic', keep_releases: 1 }, 'keep_releases'],
    [{ switch: 'atomic', keep_releases: 101 }, 'keep_releases'],
    [{ keep_releases: 3 }, 'keep_releases'],
  ])('refuses %j', async (what, named) => {
    const reply = await put('Refused', { ...place, ...what });
    expect([reply.status, reply.body.error.code]).toEqual([400, 'invalid_input']);
    expect(JSON.stringify(reply.body.error)).toContain(named);
  });

  it('cannot change while the gitdeploy is initialized somewhere; keep_releases can', async () => {
    const gitdeploy = '/app/shop/gitdeploys/Web';
    const { location } = (await api.call('GET', gitdeploy)).body;
    const atomic = { ...location, switch: 'atomic' };
    const refused = await api.call('PATCH', gitdeploy, { body: { location: atomic } });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'in_use' } } });
    await api.services.database.db.gitdeploy.updateMany({
      where: { name: 'Web' },
      data: { switchMode: 'atomic' },
    });
    const changed = await api.call('PATCH', gitdeploy, {
      body: { location: { ...atomic, keep_releases: 2 } },
    });
    expect(changed).toMatchObject({ status: 200, body: { location: { keep_releases: 2 } } });
  });
});
